"""How a schedule is shown."""

from typing import TYPE_CHECKING

from cli.output import print_json, say, show

if TYPE_CHECKING:
    from shared.core.schedule import ScheduleView

COLUMNS = ("id", "job", "trigger", "next run", "last run", "store", "state")


def answer(view: "ScheduleView", as_json: bool) -> None:
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        say(f"{view.id}: {view.job} {view.trigger}, {state(view)}, next run {show(view.next_run_time)}")


def row(view: "ScheduleView") -> tuple[object, ...]:
    return (view.id, view.job, view.trigger, view.next_run_time, last_run(view), view.store, state(view))


def last_run(view: "ScheduleView") -> str:
    last = view.last_run
    return show(None) if last is None else f"{last.state} {show(last.due_at or last.enqueued_at)}"


def state(view: "ScheduleView") -> str:
    if view.removed_by:
        return f"removed by {view.removed_by}"
    if view.broken:
        return f"BROKEN: {view.broken}"
    words = [f"paused by {view.paused_by}" if view.paused_by else "paused"] if view.paused else []
    if view.edited_by:
        words.append(f"edited by {view.edited_by}")
    if not view.paused and view.next_run_time is None:
        words.append("finished")
    return ", ".join(words) or "active"
