"""What the benchmarks share: the workloads, their PyTorch twins and the timing in turns."""
