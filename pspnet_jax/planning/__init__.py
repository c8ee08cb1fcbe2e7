"""What a program will cost on an accelerator, read off the program compiled for it."""
