"""What console, worker and the kernel lab say to each other: a command goes in, one answer comes out."""
