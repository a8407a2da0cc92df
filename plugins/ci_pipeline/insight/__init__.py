"""What a person on call asks: what runs, what became of a change, whose fault is it, what comes next.

Read-only queries and their answers as plain data. The pages (`ui`) and the commands `why` and `watch` show them.
"""
