"""The layout of the page in Gradio, and what its events do. Everything that is shown is drawn by `drawing`, every search is `session`'s.

Pictures, results and the map are HTML of our own, because Gradio's own components would write uploads and shown pictures to a folder.
"""

import functools
import sys
import traceback
from collections.abc import Callable

import gradio as gr
import markupsafe

from cirlib.explore.asking import Wish
from cirlib.explore.drawing import Turn, draw_line, draw_picker, draw_results, draw_trail, name_of
from cirlib.explore.reference import Reference
from cirlib.explore.session import MOST_LETTERS, MOST_WEIGHT, Explorer, Request
from cirlib.explore.uploads import MOST_BYTES, read_data_url
from cirlib.types import InputError

STARTERS = 36
NONE = "none"
MEANINGS = {"want": "what is asked for", "anchor": "what stays of the picture", "avoid": "what should not be there"}
HELD_SECONDS = 3600  # how long a visitor's turns, uploads among them, stay in memory after the last one
MOST_TURNS = 30

# The browser tells which picture, turn or file was meant; `element` stays while its content is replaced, so one listener is enough.
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.row !== undefined) trigger('pick', {row: Number(button.dataset.row)});
  if (button.dataset.turn !== undefined) trigger('back', {turn: Number(button.dataset.turn)});
  if (button.dataset.others) trigger('others', {});
});
"""
FILES = f"""
const send = file => {{
  if (!file) return;
  if (file.size > {MOST_BYTES}) {{ trigger('large', {{name: file.name, size: file.size}}); return; }}
  const reader = new FileReader();
  reader.onload = () => trigger('file', {{name: file.name, data: reader.result}});
  reader.readAsDataURL(file);
}};
element.addEventListener('change', event => {{
  if (event.target.type === 'file') {{ send(event.target.files[0]); event.target.value = ''; }}
}});
element.addEventListener('dragover', event => event.preventDefault());
element.addEventListener('drop', event => {{ event.preventDefault(); send(event.dataTransfer.files[0]); }});
element.addEventListener('keydown', event => {{
  if (event.target.tagName === 'LABEL' && (event.key === 'Enter' || event.key === ' ')) {{ event.preventDefault(); event.target.click(); }}
}});
"""
# On a narrow window the results lie below everything else.
SCROLL = """
watch('value', () => {
  if (window.innerWidth <= 820) document.querySelector('#cx-line').scrollIntoView({behavior: 'smooth'});
});
"""


def told(outputs: int) -> Callable[[Callable], Callable]:
    """A handler whose first of so many outputs is the line of the page: bad input is told there, and nothing else changes."""

    def decorate(handler: Callable) -> Callable:
        @functools.wraps(handler)
        def guarded(self: "Page", *values: object) -> tuple:
            try:
                return handler(self, *values)
            except InputError as error:
                line = f"{str(error)[:1].upper()}{str(error)[1:]}."
            except Exception:  # a visitor cannot mend it, the one who started the page can
                traceback.print_exc(file=sys.stderr)
                line = "Something went wrong here; the terminal that runs the page says what."
            return (draw_line(line, wrong=True), *[gr.skip()] * (outputs - 1))

        return guarded

    return decorate


class Page:
    """Handlers of the page. Each visitor has a trail of turns; the last one is the reference.

    Args:
        explorer: Prepared.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.collection = explorer, explorer.collection

    def _moved(self, trail: tuple[Turn, ...], line: str) -> tuple:
        return draw_line(line), trail, draw_trail(trail, self.collection)

    @told(3)
    def start(self, event: gr.EventData) -> tuple:
        """A picture of the picker is the first reference of a new trail."""
        reference = Reference(row=_number(event, "row"))
        reference.within(self.collection)
        return self._moved((Turn(reference),), "Say what to change, then search.")

    @told(3)
    def upload(self, event: gr.EventData) -> tuple:
        """A visitor's own picture, checked, is the first reference of a new trail."""
        upload = read_data_url(event._data.get("data"), event._data.get("name"))
        return self._moved((Turn(Reference(upload=upload)),), f"{upload.name} stays in memory only. Say what to change, then search.")

    @told(3)
    def refuse(self, event: gr.EventData) -> tuple:
        """A file that the browser did not even send, because it is too large."""
        size = _number(event, "size") / 2**20
        raise InputError(f"the picture has {size:.1f} MB; at most {MOST_BYTES // 2**20} MB are read, give a smaller one")

    @told(5)
    def follow(self, trail: tuple[Turn, ...], asked: str, event: gr.EventData) -> tuple:
        """A result becomes the next reference."""
        reference = Reference(row=_number(event, "row"))
        reference.within(self.collection)
        trail = (*trail, Turn(reference, asked or "then"))[-MOST_TURNS:]
        line = f"Turn {len(trail)} starts from {name_of(reference, self.collection)}. Say what to change on it, then search."
        return (*self._moved(trail, line), "", "")

    @told(3)
    def back(self, trail: tuple[Turn, ...], event: gr.EventData) -> tuple:
        """An earlier reference is the reference again; what came after it is dropped."""
        turn = _number(event, "turn")
        if not 0 <= turn < len(trail):
            raise InputError("that turn is gone, because the page was started anew; pick a picture")
        return self._moved(trail[: turn + 1], "Back at this picture.")

    def others(self, first: int) -> tuple:
        """Other pictures to start from."""
        return draw_picker(self.collection.starters(STARTERS, first + 1), self.collection), first + 1

    @told(3)
    def search(
        self,
        trail: tuple[Turn, ...],
        text: str,
        without: str,
        first: str,
        second: str,
        diversity: float,
        want: float,
        anchor: float,
        avoid: float,
    ) -> tuple:
        """Search with one method or two."""
        names = tuple(dict.fromkeys(name for name in (first, second) if name and name != NONE))
        wish = Wish((text or "").strip(), (without or "").strip(), *(_real(weight) for weight in (want, anchor, avoid)))
        reference = trail[-1].reference if trail else None
        answers = self.explorer.search(Request(names, reference, wish, _real(diversity)))
        spent = ", ".join(f"{answer.method} {answer.milliseconds:.0f} ms" for answer in answers)
        best = f"{len(answers[0].hits)} best of {len(self.collection.images):,} pictures ({spent})"
        line = f"{best}. A click on one makes it the next reference."
        return draw_line(line), draw_results(answers, self.collection), wish.words

    def build(self) -> gr.Blocks:
        """The page itself; it opens with an answered example where the collection has one."""
        trail, words, (line, found, asked) = self._opening()
        with gr.Blocks(title="cirlib explore", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(
                '<header class="cx-head"><h1>Composed image retrieval</h1><p>A picture and a sentence find pictures.'
                f" Here they search {markupsafe.escape(self.collection.name)}.</p></header>",
                apply_default_css=False,
            )
            state, said = gr.State(trail, time_to_live=HELD_SECONDS), gr.State(asked, time_to_live=HELD_SECONDS)
            shown = gr.State(0)
            with gr.Row(elem_classes="cx-columns"):
                with gr.Column(scale=0, min_width=280, elem_classes="cx-ask"):
                    path = _html(draw_trail(trail, self.collection), "cx-trail", CLICKS)
                    asking = self._ask_fields(words)
                    picker = _html(draw_picker(self.collection.starters(STARTERS), self.collection), "cx-picker", CLICKS + FILES)
                with gr.Column(scale=1, min_width=280, elem_classes="cx-found"):
                    told_line = _html(line, "cx-line")
                    results = _html(found, "cx-results", CLICKS + SCROLL)
            moved = [told_line, state, path]
            quiet = {"show_progress": "hidden", "api_visibility": "private"}
            picker.pick(self.start, None, moved, **quiet)
            picker.file(self.upload, None, moved, **quiet)
            picker.large(self.refuse, None, moved, **quiet)
            picker.others(self.others, shown, [picker, shown], **quiet)
            results.pick(self.follow, [state, said], [*moved, asking["text"], asking["without"]], **quiet)
            path.back(self.back, state, moved, **quiet)
            go = asking.pop("go")
            ways = [go.click, asking["text"].submit, asking["without"].submit]
            gr.on(ways, self.search, [state, *asking.values()], [told_line, results, said], api_name="search", show_progress="hidden")
        return blocks

    def _opening(self) -> tuple[tuple[Turn, ...], str, tuple[str, str, str]]:
        """Trail, words, and what the search handler gives for them."""
        if self.collection.example is None:
            return (), "", (draw_line(f"Pick a picture, say what to change, and search. {self.collection.note}".rstrip()), "", "")
        row, words = self.collection.example
        trail = (Turn(Reference(row=row)),)
        return trail, words, self.search(trail, words, "", self._first(), NONE, 0, 1, 1, 1)

    def _first(self) -> str:
        """The method that is chosen when the page opens."""
        names = list(self.explorer.methods)
        return "Pix2Key" if "Pix2Key" in names else "sum" if "sum" in names else names[0]

    def _ask_fields(self, words: str) -> dict[str, gr.components.Component]:
        names, weight = list(self.explorer.methods), {"minimum": 0, "maximum": MOST_WEIGHT, "step": 0.1, "value": 1}
        fields = {
            "text": gr.Textbox(words, label="What to change", placeholder="in red, with long sleeves", max_length=MOST_LETTERS, lines=1),
            "without": gr.Textbox(label="But without", placeholder="a belt", max_length=MOST_LETTERS, lines=1),
        }
        fields["first"] = gr.Dropdown(names, value=self._first(), label="Method")
        fields["second"] = gr.Dropdown([NONE, *names], value=NONE, label="Beside it")
        fields["go"] = gr.Button("Search", variant="primary", elem_id="cx-go")
        with gr.Accordion("Diversity, and weights: 1 is as tuned", open=False):
            fields["diversity"] = gr.Slider(0, 1, 0, step=0.05, label="Diversity (lambda)", info="0 is relevance alone")
            for name, means in MEANINGS.items():
                fields[name] = gr.Slider(**weight, label=name.capitalize(), info=means)
        if self.explorer.unavailable:
            with gr.Accordion(f"{len(self.explorer.unavailable)} methods are not available", open=False):
                items = markupsafe.Markup("").join(map(markupsafe.Markup("<li>{}.</li>").format, self.explorer.unavailable.values()))
                gr.HTML(f'<ul class="cx-missing">{items}</ul>', apply_default_css=False)
        return fields


def theme() -> gr.themes.Base:
    """Fonts that the system has; no font is fetched from anywhere."""
    plain = [gr.themes.Font(name) for name in ("Avenir Next", "Segoe UI", "Noto Sans", "DejaVu Sans", "sans-serif")]
    fixed = [gr.themes.Font(name) for name in ("Menlo", "Consolas", "DejaVu Sans Mono", "monospace")]
    return gr.themes.Base(primary_hue=gr.themes.colors.red, neutral_hue=gr.themes.colors.stone, font=plain, font_mono=fixed)


def _number(event: gr.EventData, name: str) -> int:
    """A whole number that the browser sent with an event."""
    value = event._data.get(name) if isinstance(event._data, dict) else None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"the page sent no {name}; load it again")
    return value


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"a slider sent {str(value)[:20]!r}, which is no number; load the page again")
    return float(value)


def _html(value: str, name: str, script: str | None = None) -> gr.HTML:
    return gr.HTML(value, elem_id=name, js_on_load=script, apply_default_css=False)
