"""lmjax: change one thing about a language model, run it with enough seeds, get an answer that stands up."""
