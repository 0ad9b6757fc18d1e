import pytest

from embeddings.hashing_encoder import HashingEncoder
from embeddings.model import IntentModel
from embeddings.train import train

VERBS = ("please", "can you", "I want to", "help me", "could somebody", "now", "kindly", "I need to")
TOPICS = {
    "payments.cancel": ("cancel the payment", "stop my transfer", "revoke the payment order"),
    "payments.status": ("see where the money is", "check the payment status", "track my transfer"),
    "people.leave": ("book annual leave", "request a day off", "take a holiday"),
    "it.password": ("reset my password", "unlock the account", "change a forgotten password"),
    "it.laptop": ("repair the laptop", "replace a broken screen", "order a new notebook"),
    "people.payslip": ("download my payslip", "get the salary statement", "find last month's payslip"),
}
CATALOG = {intent: tuple(f"{verb} {phrase}" for verb in VERBS for phrase in phrases) for intent, phrases in TOPICS.items()}


@pytest.fixture(scope="session")
def catalog() -> dict[str, tuple[str, ...]]:
    return CATALOG


@pytest.fixture(scope="session")
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture(scope="session")
def model(encoder: HashingEncoder) -> IntentModel:
    return train(CATALOG, (), encoder)
