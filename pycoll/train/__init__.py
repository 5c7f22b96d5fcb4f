"""A trainer on top of `pycoll.Communicator`: data, tensor and pipeline parallel, and all at once.

Layers with explicit backward functions over NumPy, and PyTorch modules as such; gradients that are
summed over all ranks in buckets while the backward pass goes on; optimizers, also sharded ones;
seeded, sharded text; checkpoints that any mesh of ranks resumes.

A training loop of one's own needs `DataParallel` only:

>>> parallel = DataParallel(model, comm)
>>> optimizer = AdamW(parallel.parameters)
>>> scores, saved = model.forward(inputs)
>>> with parallel.reducing():
...     model.backward(saved, dscores)
>>> parallel.step(optimizer, learning_rate)

`LocalSGD` communicates after every few steps only, and in `pycoll.train.ps` some ranks keep the
parameters for the others.
A model that is split among ranks takes a `TensorGroup`, a `Pipeline` holds some of its layers on
each rank, and `Mesh` lays ranks out for all three.

`Trainer` makes the steps of a language model, and `run` a whole run with progress bar, checkpoint
and picture; ``train.py`` shows how they are put together.
"""

from __future__ import annotations

from pycoll.train.abort import abort_job_on_error
from pycoll.train.adapters.torch_module import TorchModule
from pycoll.train.blas_threads import share_cores
from pycoll.train.checkpoint.held import Held, held_by
from pycoll.train.checkpoint.manifest import CheckpointError, Manifest
from pycoll.train.checkpoint.place import Place
from pycoll.train.checkpoint.reader import load_checkpoint, read_manifest
from pycoll.train.checkpoint.writer import CheckpointWriter
from pycoll.train.clipping import GradientNormError, clip_gradients
from pycoll.train.data.batches import RandomBatches, Sequences
from pycoll.train.data.corpus import Corpus
from pycoll.train.data.shard import shard
from pycoll.train.data.shared_corpus import shared_corpus
from pycoll.train.data.unigram import unigram_loss
from pycoll.train.data.vocabulary import Vocabulary
from pycoll.train.data_parallel.data_parallel import DataParallel
from pycoll.train.data_parallel.piece import Piece
from pycoll.train.layers.attention import CausalAttention
from pycoll.train.layers.cross_entropy import CrossEntropy
from pycoll.train.layers.embedding import Embedding, TiedHead
from pycoll.train.layers.feed_forward import FeedForward
from pycoll.train.layers.gelu import GELU
from pycoll.train.layers.initializer import Initializer
from pycoll.train.layers.layer import Layer
from pycoll.train.layers.layer_norm import LayerNorm
from pycoll.train.layers.linear import Linear
from pycoll.train.layers.parameter import GradientError, Parameter
from pycoll.train.layers.position_embedding import PositionEmbedding
from pycoll.train.layers.recompute import Recompute
from pycoll.train.layers.shard import Shard
from pycoll.train.layers.swiglu import SwiGLU
from pycoll.train.layers.transformer_block import TransformerBlock
from pycoll.train.local_sgd.local_sgd import LocalSGD
from pycoll.train.mesh import Mesh
from pycoll.train.mesh_shape import Coordinates, MeshShape
from pycoll.train.models.chain import Chain
from pycoll.train.models.gpt import GPT, GPTConfig
from pycoll.train.models.mlp import MLP, MLPConfig
from pycoll.train.optim.adamw import AdamW
from pycoll.train.optim.optimizer import Optimizer
from pycoll.train.optim.sgd import SGD
from pycoll.train.optim.warmup_cosine import WarmupCosine
from pycoll.train.parallelism import Parallelism
from pycoll.train.pipeline_parallel.layer_costs import measured_costs, parameter_costs
from pycoll.train.pipeline_parallel.pipeline import Pipeline
from pycoll.train.pipeline_parallel.plan import PipelinePlan, plan_pipeline
from pycoll.train.ranked_parser import RankedParser
from pycoll.train.report.sample import sample_text
from pycoll.train.settings import Settings
from pycoll.train.state import StateError
from pycoll.train.tensor_parallel.column_linear import ColumnLinear
from pycoll.train.tensor_parallel.row_linear import RowLinear
from pycoll.train.tensor_parallel.tensor_group import TensorGroup
from pycoll.train.trainer import StepReport, Trainer, TrainingDivergedError
from pycoll.train.training_run import RunOptions, run
from pycoll.train.verdict import AgreedError, RefusedError, agreed

__all__ = [
    "GELU",
    "GPT",
    "MLP",
    "SGD",
    "AdamW",
    "AgreedError",
    "CausalAttention",
    "Chain",
    "CheckpointError",
    "CheckpointWriter",
    "ColumnLinear",
    "Coordinates",
    "Corpus",
    "CrossEntropy",
    "DataParallel",
    "Embedding",
    "FeedForward",
    "GPTConfig",
    "GradientError",
    "GradientNormError",
    "Held",
    "Initializer",
    "Layer",
    "LayerNorm",
    "Linear",
    "LocalSGD",
    "MLPConfig",
    "Manifest",
    "Mesh",
    "MeshShape",
    "Optimizer",
    "Parallelism",
    "Parameter",
    "Piece",
    "Pipeline",
    "PipelinePlan",
    "Place",
    "PositionEmbedding",
    "RandomBatches",
    "RankedParser",
    "Recompute",
    "RefusedError",
    "RowLinear",
    "RunOptions",
    "Sequences",
    "Settings",
    "Shard",
    "StateError",
    "StepReport",
    "SwiGLU",
    "TensorGroup",
    "TiedHead",
    "TorchModule",
    "Trainer",
    "TrainingDivergedError",
    "TransformerBlock",
    "Vocabulary",
    "WarmupCosine",
    "abort_job_on_error",
    "agreed",
    "clip_gradients",
    "held_by",
    "load_checkpoint",
    "measured_costs",
    "parameter_costs",
    "plan_pipeline",
    "read_manifest",
    "run",
    "sample_text",
    "shard",
    "share_cores",
    "shared_corpus",
    "unigram_loss",
]
