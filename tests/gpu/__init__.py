"""What runs on the GPU plugin, under the emulated iGPU."""
