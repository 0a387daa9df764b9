"""What people use today, measured beside this project: `python -m tests.bench.baselines FOLDER`.

The contenders, all from the same two checkpoints (a captioning and a VQA BLIP):

- P: PyTorch, `generate` of transformers in FP32 (`pytorch_way`);
- N16: the way of OpenVINO's public BLIP notebook, IR with FP16 weights (`notebook_way`, `notebook_ir`);
- N8: the same with the notebook's own INT8 recipe;
- ours: this project's runtime on INT8 bundles from `python -m export` (`ours`).

What makes the comparison fair:

- The number of new tokens is forced, so every contender does the same work; `test_baselines` holds that P, N and ours
  even say the same tokens when they compute with the same weights.
- Every contender has the same threads, and a process of its own: one works while the others wait.
- OpenVINO has the same hints everywhere: latency, one stream, FP32 arithmetic. The last is stricter than OpenVINO's own
  choice on a CPU with BF16 units, where it would round what is not INT8; boards have no such units, and rounded FP32 no
  longer gives transformers' tokens. N16, whose arithmetic is all FP32, would gain the most by it.
- Pictures become pixels by this project's exact resizing, which is quicker than transformers' processor, for everybody;
  a further question does not even repeat that.
- The baselines copy nothing that they need not: tensors are shared with PyTorch, and the growing past goes from one
  inference request to the next without a copy (the notebook copies it at every token).
- Where the public way encodes a picture again, one more line of the table shows it taken apart by hand, with the
  picture's states kept.
"""
