"""What says what runs best here, in milliseconds and in picture quality."""
