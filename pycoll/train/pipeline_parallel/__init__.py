"""Pipeline parallelism: every rank holds some layers and passes micro-batches on."""
