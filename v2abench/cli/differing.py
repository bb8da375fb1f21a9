"""What a person sees of two runs clip by clip."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from v2abench.leaderboards.board import ARROWS
from v2abench.leaderboards.differences import ClipDifference, Difference, histogram

_BLOCKS = " ▏▎▍▌▋▊▉█"


def show_summary(differences: Sequence[Difference], console: Console) -> None:
    """Print one line a metric: who wins how often, by how much, and whether it may be chance."""
    first, second = differences[0].first, differences[0].second
    table = Table(title=Text(f"{second} against {first}"), title_justify="left", title_style="bold")
    table.add_column("metric")
    for heading in ("mean gain", "unit", "better", "equal", "worse", "p"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for item in differences:
        wins, ties, losses = item.counts()
        name = f"{item.metric} {ARROWS[item.direction]}".strip()
        numbers = [f"{item.gains.mean():+.4g}", item.unit, str(wins), str(ties), str(losses), _p(item.p)]
        table.add_row(Text(name), *map(Text, numbers))
    console.print(table)
    console.print(
        "A gain is positive where the second is better. --metric NAME shows the clips.", style="dim"
    )


def show_difference(difference: Difference, most: int, console: Console) -> None:
    """Print the biggest wins and losses, and a histogram of all gains."""
    wins, ties, losses = difference.counts()
    unit = f" {difference.unit}" if difference.unit else ""
    lines = [
        f"{difference.second} against {difference.first}, {difference.metric} {ARROWS[difference.direction]}",
        f"better on {wins}, equal on {ties}, worse on {losses} of {len(difference.clips)} clips; "
        f"mean gain {difference.gains.mean():+.4g}{unit}, p = {_p(difference.p)} (sign flips)",
    ]
    if difference.left_out:
        lines.append(f"left out, with one value only: {', '.join(difference.left_out)}")
    for line in lines:
        console.print(line, markup=False, highlight=False)
    best, worst = difference.extremes(most)
    for title, clips in (("biggest wins", best), ("biggest losses", worst)):
        if clips:
            console.print(_clips(title, clips, difference))
    console.print(_bars(difference))


def _clips(title: str, clips: Sequence[ClipDifference], difference: Difference) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("clip")
    for heading in (difference.first, difference.second, "gain"):
        table.add_column(Text(heading), justify="right")
    for clip in clips:
        numbers = [f"{clip.first:.4g}", f"{clip.second:.4g}", f"{clip.gain:+.4g}"]
        table.add_row(Text(clip.clip), *map(Text, numbers))
    return table


def _bars(difference: Difference, width: int = 40) -> Text:
    counts, edges = histogram(difference.gains)
    text = Text("gain\n", style="bold")
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        eighths = round(8 * width * int(count) / max(1, int(counts.max())))
        bar = _BLOCKS[8] * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
        text.append(f"{left:>+10.3g} … {right:>+10.3g}  ", style="dim")
        text.append(bar, style="green" if left >= 0 else "red").append(f" {count}\n" if count else "\n")
    return text


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
