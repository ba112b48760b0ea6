from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    LIVE: _ClassVar[State]
    STALE: _ClassVar[State]
    WAITING: _ClassVar[State]
    SYNCING: _ClassVar[State]
    OFF: _ClassVar[State]

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFLATE: _ClassVar[Policy]
    WARN: _ClassVar[Policy]
    DISCONNECT: _ClassVar[Policy]
STATE_UNSPECIFIED: State
LIVE: State
STALE: State
WAITING: State
SYNCING: State
OFF: State
CONFLATE: Policy
WARN: Policy
DISCONNECT: Policy

class BookRequest(_message.Message):
    __slots__ = ("symbol", "depth", "max_age_ms")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    depth: int
    max_age_ms: int
    def __init__(self, symbol: _Optional[str] = ..., depth: _Optional[int] = ..., max_age_ms: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("instance", "symbol", "depth", "epoch", "seq")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    instance: str
    symbol: str
    depth: int
    epoch: int
    seq: int
    def __init__(self, instance: _Optional[str] = ..., symbol: _Optional[str] = ..., depth: _Optional[int] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class StreamBookRequest(_message.Message):
    __slots__ = ("symbols", "depth", "policy", "resume")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    depth: int
    policy: Policy
    resume: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., depth: _Optional[int] = ..., policy: _Optional[_Union[Policy, str]] = ..., resume: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class StreamTradesRequest(_message.Message):
    __slots__ = ("symbols", "policy", "resume")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    policy: Policy
    resume: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., policy: _Optional[_Union[Policy, str]] = ..., resume: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class BookEvent(_message.Message):
    __slots__ = ("symbol", "instance", "epoch", "seq", "prev_seq", "update_id", "exchange_time_ms", "received_time_ms", "state", "snapshot", "diff", "status", "skipped", "heartbeat", "slow", "reason")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PREV_SEQ_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    instance: str
    epoch: int
    seq: int
    prev_seq: int
    update_id: int
    exchange_time_ms: int
    received_time_ms: int
    state: State
    snapshot: Snapshot
    diff: Diff
    status: Status
    skipped: Skipped
    heartbeat: Heartbeat
    slow: Slow
    reason: str
    def __init__(self, symbol: _Optional[str] = ..., instance: _Optional[str] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., prev_seq: _Optional[int] = ..., update_id: _Optional[int] = ..., exchange_time_ms: _Optional[int] = ..., received_time_ms: _Optional[int] = ..., state: _Optional[_Union[State, str]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., diff: _Optional[_Union[Diff, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., skipped: _Optional[_Union[Skipped, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., slow: _Optional[_Union[Slow, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Side(_message.Message):
    __slots__ = ("price_e8", "quantity_e8")
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    price_e8: _containers.RepeatedScalarFieldContainer[int]
    quantity_e8: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, price_e8: _Optional[_Iterable[int]] = ..., quantity_e8: _Optional[_Iterable[int]] = ...) -> None: ...

class KnownRange(_message.Message):
    __slots__ = ("bid_low_e8", "ask_high_e8")
    BID_LOW_E8_FIELD_NUMBER: _ClassVar[int]
    ASK_HIGH_E8_FIELD_NUMBER: _ClassVar[int]
    bid_low_e8: int
    ask_high_e8: int
    def __init__(self, bid_low_e8: _Optional[int] = ..., ask_high_e8: _Optional[int] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("bids", "asks", "tick_size", "step_size", "known", "origin", "depth")
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    STEP_SIZE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    bids: Side
    asks: Side
    tick_size: str
    step_size: str
    known: KnownRange
    origin: str
    depth: int
    def __init__(self, bids: _Optional[_Union[Side, _Mapping]] = ..., asks: _Optional[_Union[Side, _Mapping]] = ..., tick_size: _Optional[str] = ..., step_size: _Optional[str] = ..., known: _Optional[_Union[KnownRange, _Mapping]] = ..., origin: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class Diff(_message.Message):
    __slots__ = ("bids", "asks", "known")
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    bids: Side
    asks: Side
    known: KnownRange
    def __init__(self, bids: _Optional[_Union[Side, _Mapping]] = ..., asks: _Optional[_Union[Side, _Mapping]] = ..., known: _Optional[_Union[KnownRange, _Mapping]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("state", "reason", "detail")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    state: State
    reason: str
    detail: str
    def __init__(self, state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Skipped(_message.Message):
    __slots__ = ("count", "from_seq", "to_seq")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    TO_SEQ_FIELD_NUMBER: _ClassVar[int]
    count: int
    from_seq: int
    to_seq: int
    def __init__(self, count: _Optional[int] = ..., from_seq: _Optional[int] = ..., to_seq: _Optional[int] = ...) -> None: ...

class Slow(_message.Message):
    __slots__ = ("waiting", "limit")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    waiting: int
    limit: int
    def __init__(self, waiting: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("heard_ms",)
    HEARD_MS_FIELD_NUMBER: _ClassVar[int]
    heard_ms: int
    def __init__(self, heard_ms: _Optional[int] = ...) -> None: ...

class TradeEvent(_message.Message):
    __slots__ = ("symbol", "instance", "seq", "prev_seq", "trades", "missing", "status", "skipped", "heartbeat", "slow")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PREV_SEQ_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    instance: str
    seq: int
    prev_seq: int
    trades: Trades
    missing: MissingTrades
    status: Status
    skipped: Skipped
    heartbeat: Heartbeat
    slow: Slow
    def __init__(self, symbol: _Optional[str] = ..., instance: _Optional[str] = ..., seq: _Optional[int] = ..., prev_seq: _Optional[int] = ..., trades: _Optional[_Union[Trades, _Mapping]] = ..., missing: _Optional[_Union[MissingTrades, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., skipped: _Optional[_Union[Skipped, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., slow: _Optional[_Union[Slow, _Mapping]] = ...) -> None: ...

class Trades(_message.Message):
    __slots__ = ("trades",)
    TRADES_FIELD_NUMBER: _ClassVar[int]
    trades: _containers.RepeatedCompositeFieldContainer[Trade]
    def __init__(self, trades: _Optional[_Iterable[_Union[Trade, _Mapping]]] = ...) -> None: ...

class Trade(_message.Message):
    __slots__ = ("agg_id", "price_e8", "quantity_e8", "first_id", "last_id", "trade_time_ns", "buyer_is_maker", "backfilled")
    AGG_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_E8_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_E8_FIELD_NUMBER: _ClassVar[int]
    FIRST_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    TRADE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    BUYER_IS_MAKER_FIELD_NUMBER: _ClassVar[int]
    BACKFILLED_FIELD_NUMBER: _ClassVar[int]
    agg_id: int
    price_e8: int
    quantity_e8: int
    first_id: int
    last_id: int
    trade_time_ns: int
    buyer_is_maker: bool
    backfilled: bool
    def __init__(self, agg_id: _Optional[int] = ..., price_e8: _Optional[int] = ..., quantity_e8: _Optional[int] = ..., first_id: _Optional[int] = ..., last_id: _Optional[int] = ..., trade_time_ns: _Optional[int] = ..., buyer_is_maker: _Optional[bool] = ..., backfilled: _Optional[bool] = ...) -> None: ...

class MissingTrades(_message.Message):
    __slots__ = ("holes",)
    HOLES_FIELD_NUMBER: _ClassVar[int]
    holes: _containers.RepeatedCompositeFieldContainer[Hole]
    def __init__(self, holes: _Optional[_Iterable[_Union[Hole, _Mapping]]] = ...) -> None: ...

class Hole(_message.Message):
    __slots__ = ("from_id", "to_id", "why")
    FROM_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    from_id: int
    to_id: int
    why: str
    def __init__(self, from_id: _Optional[int] = ..., to_id: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class RangeRequest(_message.Message):
    __slots__ = ("symbol", "from_s", "to_s", "step_s", "page_size", "page_token", "fields")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FROM_S_FIELD_NUMBER: _ClassVar[int]
    TO_S_FIELD_NUMBER: _ClassVar[int]
    STEP_S_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    from_s: int
    to_s: int
    step_s: int
    page_size: int
    page_token: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbol: _Optional[str] = ..., from_s: _Optional[int] = ..., to_s: _Optional[int] = ..., step_s: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ...) -> None: ...

class SnapshotsPage(_message.Message):
    __slots__ = ("symbol", "origin", "snapshots", "coverage", "next_page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    origin: str
    snapshots: _containers.RepeatedCompositeFieldContainer[StoredSnapshot]
    coverage: Coverage
    next_page_token: str
    def __init__(self, symbol: _Optional[str] = ..., origin: _Optional[str] = ..., snapshots: _Optional[_Iterable[_Union[StoredSnapshot, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StoredSnapshot(_message.Message):
    __slots__ = ("timestamp", "update_id", "bids", "asks")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    UPDATE_ID_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    update_id: int
    bids: Side
    asks: Side
    def __init__(self, timestamp: _Optional[int] = ..., update_id: _Optional[int] = ..., bids: _Optional[_Union[Side, _Mapping]] = ..., asks: _Optional[_Union[Side, _Mapping]] = ...) -> None: ...

class TradesPage(_message.Message):
    __slots__ = ("symbol", "origin", "trades", "coverage", "next_page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    origin: str
    trades: _containers.RepeatedCompositeFieldContainer[Trade]
    coverage: Coverage
    next_page_token: str
    def __init__(self, symbol: _Optional[str] = ..., origin: _Optional[str] = ..., trades: _Optional[_Iterable[_Union[Trade, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("symbol", "origin", "from_s", "to_s", "expected_s", "covered_s", "ratio", "gaps", "missing_ids", "next_page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    FROM_S_FIELD_NUMBER: _ClassVar[int]
    TO_S_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_S_FIELD_NUMBER: _ClassVar[int]
    COVERED_S_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    origin: str
    from_s: int
    to_s: int
    expected_s: int
    covered_s: int
    ratio: float
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    missing_ids: int
    next_page_token: str
    def __init__(self, symbol: _Optional[str] = ..., origin: _Optional[str] = ..., from_s: _Optional[int] = ..., to_s: _Optional[int] = ..., expected_s: _Optional[int] = ..., covered_s: _Optional[int] = ..., ratio: _Optional[float] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., missing_ids: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("from_s", "to_s", "cause")
    FROM_S_FIELD_NUMBER: _ClassVar[int]
    TO_S_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    from_s: int
    to_s: int
    cause: str
    def __init__(self, from_s: _Optional[int] = ..., to_s: _Optional[int] = ..., cause: _Optional[str] = ...) -> None: ...

class SecondsChunk(_message.Message):
    __slots__ = ("symbol", "origin", "t", "columns", "coverage")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    origin: str
    t: _containers.RepeatedScalarFieldContainer[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    coverage: Coverage
    def __init__(self, symbol: _Optional[str] = ..., origin: _Optional[str] = ..., t: _Optional[_Iterable[int]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "width", "integers", "numbers", "texts", "nulls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    width: int
    integers: Integers
    numbers: Numbers
    texts: Texts
    nulls: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., width: _Optional[int] = ..., integers: _Optional[_Union[Integers, _Mapping]] = ..., numbers: _Optional[_Union[Numbers, _Mapping]] = ..., texts: _Optional[_Union[Texts, _Mapping]] = ..., nulls: _Optional[_Iterable[int]] = ...) -> None: ...

class Integers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...
