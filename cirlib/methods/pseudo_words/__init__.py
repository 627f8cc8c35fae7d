"""Pseudo-words: a picture becomes a word that a frozen text tower reads, in sentences such as "a photo of $ that is red".

mappers    from an image embedding to a pseudo-word             pic2word   trained by contrast with the picture
sentence   the one way to put pseudo-words into sentences       searle     inversion picture by picture, then distillation
prompts    what the sentences say, per method and benchmark     lincir     trained on sentences alone
features   frozen CLIP features of pictures, from the cache     probes     what a pseudo-word holds
method     retrieval with a pseudo-word                         stored     trained mappers on disk

The two-stage method of "From Mapping to Composing" (folder `map_to_compose`) builds upon this folder.
"""
