"""The prompts that ask a vision-language model for dictionaries, captions, signed updates and rewritten captions.

The wording is our choice: the paper names the format (short key-value facts) and not its prompt. Instructions are short, because the
miniature pays for every token, and stand before the image, because a causal model lets image tokens see only what came before them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One instruction.

    Attributes:
        name: What it asks for.
        version: Raised whenever the wording or the meaning of the answer changes; caches keep answers apart by it.
        text: The instruction itself, without chat marks and image.
    """

    name: str
    version: str
    text: str


# Answer: {"dress":{"color":"blue","sleeve":"long","pockets":"yes"}}, an object with its keys and their values (a value may be a list).
DICTIONARY_PROMPT = Prompt(
    "dictionary",
    "dictionary-1",
    'Describe the main object as JSON {"object": {"key": "value"}}: short visible facts such as color, pattern and details.',
)
# Answer: one sentence that names every visible attribute.
CAPTION_PROMPT = Prompt("caption", "caption-1", "Describe the main object in one sentence with all its visible attributes.")
# Answer: {"positive":{"color":"red"},"negative":{"belt":"yes"},"open":["neckline"]}
EDIT_VERSION = "edit-1"
_EDIT = 'Answer as JSON: "positive" is what the result must show, "negative" what it must not, "open" the keys left free.'
# Answer: the caption of the target, one sentence.
REWRITE_VERSION = "rewrite-1"
_REWRITE = "Rewrite the caption so that it describes the picture after the change, in one sentence."


def edit_prompt(reference_json: str, text: str) -> str:
    r"""Prompt that asks for the signed updates of one modification text; no image goes with it.

    Args:
        reference_json: Dictionary of the reference picture, in the form that the dictionary prompt is answered in.
        text: Modification text.

    Returns:
        The prompt. Its answer holds three parts: "positive" (key and value that the result must show, relative wording resolved against the
        reference), "negative" (what it must not show, put affirmatively) and "open" (keys that may take any other value).

    Example:
        >>> edit_prompt('{"dress":{"color":"blue"}}', "is red").split("\n")[1:]
        ['Reference: {"dress":{"color":"blue"}}', 'Change: is red']
    """
    return f"{_EDIT}\nReference: {reference_json}\nChange: {text}"


def rewrite_prompt(caption: str, text: str) -> str:
    r"""Prompt that asks for the target's caption, given the reference's caption and the modification text; no image goes with it.

    Example:
        >>> rewrite_prompt("a blue dress", "is red").split("\n")[1:]
        ['Caption: a blue dress', 'Change: is red']
    """
    return f"{_REWRITE}\nCaption: {caption}\nChange: {text}"
