"""Accounts, rules and tokens as JSON: what commands tell of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chunkstore.core.access import EVERYONE, GROUP_MARK, Verbs, format_verbs
from chunkstore.core.names import ROOT
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.identities import Identity
from chunkstore.service.access.values import Account, KeptRule, Token

Json = dict[str, Any]


def account_to_json(snapshot: Snapshot, account: Account) -> Json:
    """Return what is told of an account: not its password."""
    return {
        "name": account.name,
        "created": time_to_json(account.created),
        "disabled": account.disabled,
        "password": account.password is not None,
        "totp": account.totp is not None,
        "groups": [
            written_subject(snapshot, subject)
            for subject in snapshot.subjects_of(account)
            if subject.startswith(GROUP_MARK)
        ],
        "admin": Verbs.ADMIN in snapshot.access_of(account).verbs(ROOT),
    }


def identity_to_json(snapshot: Snapshot, identity: Identity) -> Json:
    """Return whom a provider knows as an account."""
    return {
        "account": written_subject(snapshot, identity.account),
        "issuer": identity.issuer,
        "subject": identity.subject,
        "linked": time_to_json(identity.linked),
    }


def rule_to_json(snapshot: Snapshot, rule: KeptRule) -> Json:
    """Return a rule."""
    return {
        "subject": written_subject(snapshot, rule.subject),
        "folder": f"/{rule.folder}",
        "verbs": format_verbs(rule.verbs),
    }


def token_to_json(snapshot: Snapshot, token: Token) -> Json:
    """Return what is told of a token: nothing by which somebody could use it."""
    account = snapshot.accounts.get(token.account)
    return {
        "id": token.id,
        "account": token.account if account is None else account.name,
        "label": token.label,
        "scope": [
            {"folder": f"/{folder}", "verbs": format_verbs(verbs)} for folder, verbs in token.scope
        ],
        "created": time_to_json(token.created),
        "expires": None if token.expires is None else time_to_json(token.expires),
        "used": token.used,
    }


def written_subject(snapshot: Snapshot, subject: str) -> str:
    """Return a subject as people wrote its name."""
    if subject.startswith(GROUP_MARK):
        return GROUP_MARK + snapshot.groups[subject.removeprefix(GROUP_MARK)].name
    return subject if subject == EVERYONE else snapshot.accounts[subject].name


def time_to_json(moment: datetime) -> str:
    """Return a moment, to the second."""
    return moment.isoformat(timespec="seconds")
