"""What a run on several devices and processes needs beside its training: checkpoints to go on from."""
