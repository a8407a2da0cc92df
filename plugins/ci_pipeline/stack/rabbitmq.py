"""A private RabbitMQ node: own data, own cookie, own port mapper (epmd), all on loopback.

The server script is run directly: the distribution's wrapper switches to the account of the system's broker.
"""

import pika
from pika.exceptions import AMQPError

from ci_pipeline.stack import tools
from ci_pipeline.stack.components import Program
from ci_pipeline.stack.layout import Layout, write_private
from ci_pipeline.stack.ports import LOOPBACK, answers
from ci_pipeline.stack.record import Record, Secrets

USER = "ci_pipeline"
VHOST = "ci_pipeline"
_NODE = "ci_pipeline@localhost"


def url(port: int, secrets: Secrets) -> str:
    """Return the AMQP URL."""
    return f"amqp://{USER}:{secrets.rabbitmq}@{LOOPBACK}:{port}/{VHOST}"


def programs(layout: Layout, record: Record) -> tuple[Program, Program]:
    """Return how the port mapper and the broker are run."""
    environment = _environment(layout, record)
    epmd = tools.find("epmd", "/usr/lib/erlang/erts-*/bin/epmd", "/usr/lib64/erlang/erts-*/bin/epmd")
    server = tools.find("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
    return (
        # Supervised: started by the broker itself it would daemonize and outlive it.
        Program(name="epmd", command=(epmd,), folder=str(layout.rabbitmq), environment=environment),
        Program(
            name="rabbitmq",
            command=(server,),
            folder=str(layout.rabbitmq),
            environment=environment,
            start_seconds=5,
            stop_seconds=30,
        ),
    )


def configure(layout: Layout, port: int, secrets: Secrets) -> None:
    """Write the node's configuration. Account and vhost are created by its first start."""
    lines = {
        "listeners.tcp.default": f"{LOOPBACK}:{port}",
        "default_user": USER,
        "default_pass": secrets.rabbitmq,
        "default_vhost": VHOST,
        "log.file": "false",
        "log.console": "true",
        "log.console.level": "info",
    }
    text = "".join(f"{key} = {value}\n" for key, value in lines.items())
    write_private(layout.rabbitmq / "rabbitmq.conf", text)
    write_private(layout.rabbitmq / "enabled_plugins", "[].\n")
    cookie = layout.rabbitmq / ".erlang.cookie"
    if not cookie.exists():
        write_private(cookie, secrets.erlang_cookie)
        cookie.chmod(0o400)


def is_ready(port: int, secrets: Secrets) -> bool:
    """Tell whether the broker lets us in."""
    # Asked first because pika logs a refused connection as an error.
    if not answers(port):
        return False
    parameters = pika.URLParameters(url(port, secrets) + "?connection_attempts=1&socket_timeout=3&stack_timeout=5")
    try:
        pika.BlockingConnection(parameters).close()
    except (AMQPError, OSError):
        return False
    return True


def _environment(layout: Layout, record: Record) -> dict[str, str]:
    home = layout.rabbitmq
    return {
        "HOME": str(home),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(record.ports["epmd"]),
        "RABBITMQ_NODENAME": _NODE,
        "RABBITMQ_DIST_PORT": str(record.ports["rabbitmq-distribution"]),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(layout.logs),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        # The broker takes the place of its start script, so that the process manager watches the broker itself.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Without these the system's /etc/rabbitmq would be read.
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
    }
