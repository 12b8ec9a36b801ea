"""What is written of a result: the report as a page and as Markdown, its tables and plots."""
