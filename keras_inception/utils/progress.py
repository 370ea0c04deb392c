"""Progress bars on a terminal."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]  # called with the name of the step, the number done and the total

_shown: list = []  # Rich's progress displays


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def clear() -> None:
    """Remove the progress bars that an error or a signal has left on the terminal."""
    while _shown:
        _shown.pop().stop()


def bars() -> Progress:
    """Return a function that shows each step's progress and time left if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        return silent
    bar = Bar(console=console, transient=True)
    _shown.append(bar)

    def show(what: str, done: int, total: int) -> None:
        if [task.description for task in bar.tasks] != [what]:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(what)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total)
        if done >= total:
            bar.stop()
            bar.remove_task(bar.task_ids[0])

    return show


def counted(items: Iterable[T], what: str, total: int, progress: Progress) -> Iterator[T]:
    """Yield the items. Report how many are done before each one and at the end."""
    for done, item in enumerate(items):
        progress(what, done, total)
        yield item
    progress(what, total, total)
