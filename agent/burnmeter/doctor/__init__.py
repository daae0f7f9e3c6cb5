"""What one look at this node found, what is missing, and what would bring it. Pure."""

from burnmeter.doctor import engines, machine, money, objectives
from burnmeter.doctor.finding import Finding, Glance

__all__ = ["Finding", "Glance", "findings"]


def findings(glance: Glance) -> tuple[Finding, ...]:
    """All worth saying: the machine, its engines, what they cannot give, money, objectives."""
    judged = objectives.judged(glance)
    return (
        *machine.gpus(glance.gpus),
        *machine.processes(glance.processes, glance.gpus),
        *machine.alertmanagers(glance.snapshot.alertmanagers),
        *engines.targets(glance),
        *engines.roles(glance),
        *engines.probes(glance),
        *engines.unread(glance),
        *engines.not_available(glance, judged.needs),
        *money.money(glance),
        *judged.findings,
    )
