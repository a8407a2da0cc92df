"""Which builder a try goes to."""

from typing import Any

import pytest

from ci_pipeline.builders.choosing import Load, Situation, Wanted, after, choose
from ci_pipeline.builders.inventory import Builder
from ci_pipeline.errors import BuilderError

BUILD = Wanted(stage="build_package", arch="x86_64")
BOOT = Wanted(stage="smoke_test", arch="x86_64", machines=1)


def builder(name: str, **variables: Any) -> Builder:
    """Return a builder."""
    fixed = {"ansible_host": name, "builder_folder": "/srv/ci", "builder_arch": "x86_64"}
    return Builder.model_validate({**fixed, **variables, "name": name})


def test_an_architecture_nobody_has_is_an_error() -> None:
    """Waiting would not help."""
    with pytest.raises(BuilderError, match=r"no builder of the inventory is aarch64 .*build_package needs; add one"):
        choose([builder("a")], Wanted(stage="build_package", arch="aarch64"), Situation())


def test_more_machines_than_anybody_may_run_is_an_error() -> None:
    """The same."""
    with pytest.raises(BuilderError, match=r"no x86_64 builder may run 1 virtual machines .*raise it"):
        choose([builder("a", builder_machines=0)], BOOT, Situation())


def test_a_stage_goes_to_a_builder_of_its_architecture() -> None:
    """Whoever else is free."""
    builders = [builder("a"), builder("b", builder_arch="aarch64")]

    assert choose(builders, Wanted(stage="build_package", arch="aarch64"), Situation()) == builders[1]


def test_two_stages_go_to_two_builders_and_a_third_waits() -> None:
    """It is told for what."""
    builders = [builder("a"), builder("b")]
    one, two = {"a": Load(slots=1)}, {"a": Load(slots=1), "b": Load(slots=1)}

    assert choose(builders, BUILD, Situation()) == builders[0]
    assert choose(builders, BUILD, Situation(loads=one)) == builders[1]
    assert choose(builders, BUILD, Situation(loads=two)) == (
        "build_package waits for a builder: a has 1 of 1 slots in use; b has 1 of 1 slots in use"
    )


def test_the_one_with_most_free_slots_is_taken() -> None:
    """Work is spread."""
    builders = [builder("a", builder_slots=2), builder("b", builder_slots=3)]

    assert choose(builders, BUILD, Situation()) == builders[1]
    assert choose(builders, BUILD, Situation(loads={"b": Load(slots=2)})) == builders[0]


def test_a_small_host_never_has_two_machines() -> None:
    """Though it has slots left for stages without."""
    small = builder("a", builder_slots=4, builder_machines=1)
    busy = Situation(loads={"a": Load(slots=1, machines=1)})

    assert choose([small], BOOT, busy) == "smoke_test waits for a builder: a has 1 of 1 virtual machines in use"
    assert choose([small], BUILD, busy) == small


def test_who_is_set_aside_is_left_alone() -> None:
    """Even when nobody else is free."""
    builders = [builder("a", builder_slots=9), builder("b")]
    aside = Situation(aside={"a": "set aside until 12:00:00 UTC: it is away"})

    assert choose(builders, BUILD, aside) == builders[1]
    assert "a is set aside until 12:00:00 UTC: it is away" in str(choose(builders[:1], BUILD, aside))


def test_a_retry_goes_elsewhere_if_it_can() -> None:
    """And back to the same where it cannot."""
    builders = [builder("a", builder_slots=9), builder("b")]
    again = Wanted(stage="build_package", arch="x86_64", avoid={"a"})

    assert choose(builders, again, Situation()) == builders[1]
    assert choose(builders[:1], again, Situation()) == builders[0]


def test_what_is_promised_to_those_who_go_first_counts_as_in_use() -> None:
    """One for which nothing is free, or could ever be, holds nobody up; what is in use stays as it was told."""
    builders = [builder("a", builder_slots=3), builder("b", builder_arch="aarch64")]
    now = Situation(loads={"a": Load(slots=1, machines=1)})
    never = Wanted(stage="build_package", arch="riscv64")
    then = after(builders, [BOOT, BUILD, never], now)

    assert then.loads == {"a": Load(slots=2, machines=1)}
    assert choose(builders, BUILD, then) == builders[0]
    assert "a has 3 of 3 slots in use" in str(choose(builders, BUILD, after(builders, [BUILD, BUILD], now)))
    assert now.loads == {"a": Load(slots=1, machines=1)}
