"""Models of other packages, fitted and asked with their recurrent modules accelerated and not.

    python foreign_models.py darts|neuralforecast|flair

runs in the environment of that package and prints one JSON object: `accelerated`, how many modules were
switched; `calls`, how often the kernels were called in training and in prediction; `difference`, the largest
between predictions of the same weights, accelerated and not; `scale`, the largest prediction; `moved`, how
far training changed a weight.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import gatestack as gs
from gatestack.compat import module_call

_CALLS = [0]


def _count_calls() -> None:
    plain: Callable[..., object] = module_call.run_stack

    def counted(*arguments: object, **named: object) -> object:
        _CALLS[0] += 1
        return plain(*arguments, **named)

    module_call.run_stack = counted


def _trial(
    network: Callable[[], nn.Module], train: Callable[[], object], predict: Callable[[], np.ndarray]
) -> dict[str, object]:
    """Accelerate, train, predict; then predict with the same weights on torch's own code."""
    gs.accelerate(network())
    count = sum(gs.compat.is_accelerated(module) for module in network().modules())
    before = _weights(network())
    _CALLS[0] = 0
    train()
    in_training = _CALLS[0]
    after = _weights(network())
    fast = predict()
    in_prediction = _CALLS[0] - in_training
    gs.decelerate(network())
    _CALLS[0] = 0
    plain = predict()
    return {
        "accelerated": count,
        "calls": [in_training, in_prediction, _CALLS[0]],
        "difference": float(np.abs(fast - plain).max()),
        "scale": float(np.abs(plain).max()),
        "moved": max(float((after[name] - before[name]).abs().max()) for name in before),
    }


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


_TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def _wave(steps: int) -> np.ndarray:
    return np.sin(np.arange(steps) / 3).astype(np.float32) + 2


def darts() -> dict[str, object]:
    from darts import TimeSeries
    from darts.models import BlockRNNModel, RNNModel

    series = TimeSeries.from_values(_wave(120))
    found = {}
    common = {"n_epochs": 1, "batch_size": 16, "random_state": 1, "pl_trainer_kwargs": _TRAINER}
    models = {
        "block": BlockRNNModel(12, 6, model="LSTM", hidden_dim=8, n_rnn_layers=2, **common),
        "step by step": RNNModel(12, model="GRU", hidden_dim=8, training_length=18, **common),
    }
    for name, model in models.items():
        model.fit(series)  # makes the network; what is trained below is the accelerated one
        found[name] = _trial(
            lambda model=model: model.model,
            lambda model=model: model.fit(series, epochs=2),
            lambda model=model: model.predict(6, series=series, show_warnings=False).values(),
        )
    return found


def neuralforecast() -> dict[str, object]:
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    frame = pd.DataFrame({"unique_id": 1, "ds": np.arange(120), "y": _wave(120)})
    options = {"max_steps": 5, "val_check_steps": 5, "random_seed": 1, **_TRAINER}
    found = {}
    for name, recurrent in {"direct": False, "recurrent": True}.items():
        model = LSTM(
            h=6, input_size=12, encoder_hidden_size=8, decoder_hidden_size=8, recurrent=recurrent, **options
        )
        forecaster = NeuralForecast(models=[model], freq=1)
        found[name] = _trial(
            lambda forecaster=forecaster: forecaster.models[0],
            lambda forecaster=forecaster: forecaster.fit(frame),
            lambda forecaster=forecaster: forecaster.predict()["LSTM"].to_numpy(),
        )
    return found


def flair() -> dict[str, object]:
    import flair
    from flair.data import Corpus, Dictionary, Sentence
    from flair.datasets import FlairDatapointDataset
    from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings
    from flair.models import SequenceTagger
    from flair.trainers import ModelTrainer

    flair.device = torch.device("cpu")
    texts = [
        "Anna lives in Bern",
        "Bern is cold",
        "Paul met Anna",
        "It rains",
        "Anna saw Rome and Bern today",
    ]
    kinds = {"Anna": "PER", "Paul": "PER", "Bern": "LOC", "Rome": "LOC"}

    def sentences() -> list[Sentence]:
        made = [Sentence(text) for text in texts]
        for sentence in made:
            for token in sentence:
                token.add_label("ner", kinds.get(token.text, "O"))
        return made

    parts = [FlairDatapointDataset(sentences()) for _ in range(3)]
    corpus = Corpus(train=parts[0], dev=parts[1], test=parts[2], name="five sentences")
    letters = Dictionary()  # of our own: the one that the package offers would be downloaded
    for letter in sorted(set("".join(texts))):
        letters.add_item(letter)
    found = {}
    for name, rnn_type in {"LSTM": "LSTM", "GRU": "GRU"}.items():
        flair.set_seed(1)
        words = OneHotEmbeddings.from_corpus(corpus, embedding_length=12)
        tagger = SequenceTagger(
            embeddings=StackedEmbeddings([words, CharacterEmbeddings(letters)]),
            tag_dictionary=corpus.make_label_dictionary("ner", add_unk=False),
            tag_type="ner",
            rnn_type=rnn_type,
            hidden_size=16,
            rnn_layers=2,
            use_crf=True,
        )

        def train(tagger: SequenceTagger = tagger) -> None:
            with tempfile.TemporaryDirectory() as folder:
                ModelTrainer(tagger, corpus).train(
                    folder, learning_rate=0.1, mini_batch_size=2, max_epochs=3, save_final_model=False
                )

        def predict(tagger: SequenceTagger = tagger) -> np.ndarray:
            tagger.eval()
            asked = [Sentence(text) for text in texts]
            tagger.predict(asked, force_token_predictions=True, return_probabilities_for_all_classes=True)
            return np.array(
                [[label.score for label in token.tags_proba_dist["ner"]] for s in asked for token in s]
            )

        found[name] = _trial(lambda tagger=tagger: tagger, train, predict)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    _count_calls()
    run = {"darts": darts, "neuralforecast": neuralforecast, "flair": flair}[sys.argv[1]]
    print("\n" + json.dumps(run()))
