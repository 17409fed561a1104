"""Progress in a terminal and in a file."""

import io

from backend.cli.terminal import ProgressLine, duration, progress_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_redraws():
    stream = Terminal()
    progress = ProgressLine(stream)
    progress.show("Fitting", 0.25, seconds_left=75, psnr_db=31.26)
    progress.show("Fitting", 0.5)
    progress.clear()
    assert "\n" not in stream.getvalue()
    first, second, cleared = stream.getvalue().split("\r\x1b[K")[1:]
    assert "█████░" in first
    assert "1 min 15 s left  31.3 dB" in first
    assert "50%" in second
    assert cleared == ""


def test_a_note_stays_and_does_not_end_in_the_bar():
    stream = Terminal()
    progress = ProgressLine(stream)
    progress.show("Fitting", 0.25)
    progress.note("saved")
    assert stream.getvalue().endswith("\r\x1b[Ksaved\n")


def test_a_file_gets_plain_lines_and_few_of_them():
    stream = io.StringIO()
    progress = ProgressLine(stream)
    for step in range(1000):
        progress.show("Fitting", step / 1000)
    progress.show("Creating the material", 1.0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "\r" not in stream.getvalue()
    assert "█" not in stream.getvalue()
    assert lines[1].startswith("Creating the material")


def test_unknown_values_are_left_out():
    assert progress_text("Fitting", 0.0, None, None, "", bar=False).split() == ["Fitting", "0%"]


def test_durations():
    written = [duration(seconds) for seconds in (-3, 0.4, 59.4, 59.6, 185)]
    assert written == ["0 s", "0 s", "59 s", "1 min 00 s", "3 min 05 s"]
