"""The memory that a training needs, and how to keep it within a budget."""
