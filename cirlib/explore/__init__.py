"""The page of `cirlib explore`: `session` searches, `drawing` writes HTML, `page` lays it out in Gradio, `server` serves it."""
