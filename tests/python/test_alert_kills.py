"""Alerts are recorded once and delivered, whenever the processes that do it are killed."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from alert_support import SECRET, Receiver, deliver, receiving, turn, wait_for
from audit_support import log_rows, open_live
from store_support import run_python, start_python
from tenancy import Tenancy
from tenancy.alerts import Alerts, Retry, Rule, Webhook, critical

CRASHING = """
    import json, os, random, signal, sys, threading, time
    from datetime import timedelta
    from pathlib import Path
    from alert_support import job
    from audit_support import open_live
    from test_alert_kills import crash_alerts
    from tenancy.stores import alert_job, alert_store
    from tenancy.stores.alert_delivery import DeliveryJob
    from tenancy.stores.alert_webhook import Webhook

    directory, rounds, url, secret = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    choose = random.Random(int(sys.argv[5]))
    STEPS = {
        "raised": (alert_job.AlertJob, "_raise"),
        "saved": (alert_store, "save_cursor"),
        "written": (alert_job.AlertJob, "_write"),
        "begun": (DeliveryJob, "_begin"),
        "sent": (Webhook, "send"),
        "noted": (DeliveryJob, "_attempt"),
    }

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def killed_at(step, left, before):
        place, name = STEPS[step]
        function = getattr(place, name)
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0 and before:
                die()
            answer = function(*arguments, **options)
            if left < 0:
                die()
            return answer
        setattr(place, name, call)

    killed = 0
    for number in range(rounds):
        step = [*STEPS, "any"][number % (len(STEPS) + 1)]
        seed = choose.random()
        child = os.fork()
        if child == 0:
            choose.seed(seed)
            try:
                t = open_live(directory, alerts=crash_alerts(url, secret))
                if step == "any":
                    pause = choose.random() * 0.1
                    threading.Thread(target=lambda: (time.sleep(pause), die()), daemon=True).start()
                else:
                    killed_at(step, choose.randrange(3), choose.random() < 0.5)
                for _ in range(choose.randrange(1, 5)):
                    event = t.audit.append("boom", principal=choose.choice("abc"))
                    os.write(1, (event + "\\n").encode())
                t.background.run_due()
                job(t, "alert deliveries").close()
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        killed += status != 0
    os.write(1, f"killed {killed}\\n".encode())
"""

# A worker that only waits: what happens in it happens by itself.
WORKER = """
    import os, sys
    from pathlib import Path
    from audit_support import open_live
    from test_alert_kills import crash_alerts

    t = open_live(Path(sys.argv[1]), background=True, alerts=crash_alerts(*sys.argv[2:]))
    print(os.getpid())
    sys.stdin.read()
"""

ROUNDS = int(os.environ.get("TENANCY_KILL_ROUNDS", "21"))


def crash_alerts(url: str, secret: str) -> Alerts:
    """One alert for each fact, and one for each two of a principal."""
    return Alerts(
        rules=[
            critical("boom", cooldown=timedelta(0)),
            Rule(
                "pairs", match={"type": "boom"}, by="principal", at_least=2,
                within=timedelta(hours=1), cooldown=timedelta(0),
            ),
        ],
        to=[Webhook(url, secret=secret, timeout=10)],
        retry=Retry(first=0.001, longest=0.001, attempts=100),
    )  # fmt: skip


@pytest.mark.slow
def test_alerts_are_recorded_once_and_delivered_whenever_processes_are_killed(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        with open_live(tmp_path, alerts=crash_alerts(receiver.url, SECRET)) as t:
            turn(t)
        seed = random.randrange(1 << 30)
        done = run_python(CRASHING, tmp_path, ROUNDS, receiver.url, SECRET, seed)
        assert done.returncode == 0, f"seed {seed}: {done.stderr}"
        *acknowledged, last = done.stdout.split("\n")[:-1]
        assert int(last.split()[1]) >= ROUNDS // 3, last
        with open_live(tmp_path, alerts=crash_alerts(receiver.url, SECRET)) as t:
            turn(t)
            _check_after_the_kills(t, receiver, acknowledged, f"seed {seed}")


def test_another_worker_goes_on_where_the_elected_one_was_killed(tmp_path: Path) -> None:
    with receiving() as receiver, open_live(tmp_path) as t:
        started = [start_python(WORKER, tmp_path, receiver.url, SECRET) for _ in range(3)]
        workers = {}
        for process in started:
            assert process.stdout is not None
            workers[int(process.stdout.readline())] = process
        events: list[str] = []
        try:
            while workers:
                wait_for(lambda: t.health().background.pid in workers, "somebody is elected")
                pid = t.health().background.pid
                assert pid is not None
                events += [t.audit.append("boom", principal="ann") for _ in range(5)]
                if len(workers) == 1:
                    expected = len(events) + len(events) // 2
                    wait_for(lambda count=expected: len(set(receiver.ids)) == count)
                process = workers.pop(pid)
                process.kill()
                process.communicate()
        finally:
            for process in workers.values():
                process.kill()
                process.communicate()
    with open_live(tmp_path, alerts=crash_alerts(receiver.url, SECRET)) as t:
        _check_after_the_kills(t, receiver, events, "three workers")


def _check_after_the_kills(
    t: Tenancy, receiver: Receiver, acknowledged: list[str], seed: str
) -> None:
    def pending() -> int:
        deliver(t)
        with t._host.cursor() as cursor:
            query = "SELECT count(*) FROM alert_deliveries WHERE status = 'pending'"
            return int(cursor.execute(query).fetchone()[0])

    wait_for(lambda: pending() == 0, seed)
    t._host.facts.settle()
    rows = log_rows(t.path, "security")
    boom = [row for row in log_rows(t.path, "other") if row.type == "boom"]
    assert {row.event_id for row in boom} >= set(acknowledged), seed
    alerts = []
    page = t.alerts.list(limit=1000)
    alerts += page
    assert page.cursor is None
    single = [alert for alert in alerts if alert.rule == "critical"]
    assert sorted(alert.facts[0] for alert in single) == sorted(str(r.event_id) for r in boom), seed
    pairs = Counter(alert.group["principal"] for alert in alerts if alert.rule == "pairs")
    assert pairs == Counter(
        {who: n // 2 for who, n in Counter(row.principal for row in boom).items() if n > 1}
    ), seed
    told = Counter(row.event_id for row in rows if row.type == "security_alert")
    assert told == Counter(alert.id for alert in alerts), f"{seed}: each fact once"
    assert set(receiver.ids) == set(told), f"{seed}: each alert at least once, under its id"
    assert t.health().ok, seed
