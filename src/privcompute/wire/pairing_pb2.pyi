from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinUp(_message.Message):
    __slots__ = ("hello", "answer")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    hello: JoinHello
    answer: JoinAnswer
    def __init__(self, hello: _Optional[_Union[JoinHello, _Mapping]] = ..., answer: _Optional[_Union[JoinAnswer, _Mapping]] = ...) -> None: ...

class JoinDown(_message.Message):
    __slots__ = ("challenge", "welcome")
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    challenge: JoinChallenge
    welcome: JoinWelcome
    def __init__(self, challenge: _Optional[_Union[JoinChallenge, _Mapping]] = ..., welcome: _Optional[_Union[JoinWelcome, _Mapping]] = ...) -> None: ...

class JoinHello(_message.Message):
    __slots__ = ("version", "inviter", "joiner", "certificate", "addresses", "nonce")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INVITER_FIELD_NUMBER: _ClassVar[int]
    JOINER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    inviter: str
    joiner: str
    certificate: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    nonce: bytes
    def __init__(self, version: _Optional[int] = ..., inviter: _Optional[str] = ..., joiner: _Optional[str] = ..., certificate: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class JoinChallenge(_message.Message):
    __slots__ = ("nonce", "proof")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    proof: bytes
    def __init__(self, nonce: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class JoinAnswer(_message.Message):
    __slots__ = ("proof", "signature")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    signature: bytes
    def __init__(self, proof: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class JoinWelcome(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
