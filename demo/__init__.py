"""The demo: all models side by side on a face, in a browser (`python demo/app.py`)."""
