"""What a task does at a site, one module a task: what it learns from, its loss, its figures, its pictures."""
