"""The command `driftd`."""

import click

from daemon.commands.acting import ack, approve, promote, reference, reject, retrain, rollback, silence
from daemon.commands.asking import dead_letters, models, status, versions
from daemon.commands.config import check_config, db
from daemon.commands.doctor import doctor
from daemon.commands.replaying import replay
from daemon.commands.running import demo, run
from daemon.commands.sending import send


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driftd")
def main() -> None:
    """Watch machine-learning models in production: find drift, retrain, prove it, redeploy, take back."""


for one in (
    run,
    demo,
    check_config,
    replay,
    send,
    status,
    models,
    versions,
    dead_letters,
    reference,
    retrain,
    promote,
    rollback,
    ack,
    silence,
    approve,
    reject,
    doctor,
    db,
):
    main.add_command(one)
