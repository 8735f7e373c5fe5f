"""What a training needs of memory, and how it is kept inside a budget."""
