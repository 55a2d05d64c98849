"""Composable pure-ASGI middlewares over one shared Redis connection manager. These names are the public API."""

from .cache.decorator import cached, invalidates
from .cache.events import CacheEvent, CacheHook, ValueEvent, ValueHook
from .cache.functions import CachedFunction
from .cache.guard import ResponseCache
from .cache.middleware import ResponseCacheMiddleware
from .cache.values import Cache
from .cache.warming import Warmed
from .core.client_ip import TrustedProxies
from .core.exchange import Exchange
from .core.guard import Guard, OneRoundGuard, OnRefused
from .core.identity import KeyPart
from .core.paths import PathPatterns
from .core.problem import problem, unavailable
from .core.responder import Close, Control, Head, Outcome, Responder
from .core.script import Batch, Operation, OperationKind, Replies, Reply
from .core.steps import PASS, Admission, Answer, Ask, Body, Pass, RequestEdits, Verdict, Wait
from .errors import (
    BodyTooLarge,
    ConfigurationError,
    GuardError,
    GuardProtocolError,
    IdempotencyConflict,
    IdempotencyError,
    IdempotencyMismatch,
    KeysUnavailable,
    LockBusy,
    LockError,
    LockLost,
    LockNotOwnedError,
    NoExchange,
    OperationFailed,
    RedisOverloaded,
    RedisTimeout,
    RedisUnavailable,
    RefreshRefused,
    ResponseAborted,
    RouteRefused,
    SessionDataError,
    SessionNotLoaded,
    SessionUnreadable,
    TokenError,
    TokenInvalid,
    TokenRevoked,
    TooFewReplicas,
    TooManySessions,
    WaitTimeout,
)
from .idempotency.decorator import idempotent
from .idempotency.guard import Idempotency
from .idempotency.middleware import IdempotencyMiddleware
from .jwt.guard import JWTAuth
from .jwt.jwks.source import JWKSKeys, JWKSStatus
from .jwt.middleware import JWTAuthMiddleware
from .jwt.revocation.mirror import MirrorStatus
from .jwt.revocation.revocation_list import Revocation, RevocationList, RevocationStats
from .jwt.routes.app import TokenRoutes
from .jwt.routes.cookie_transport import CookieTransport
from .jwt.routes.logout import Logout
from .jwt.service.access import AccessToken
from .jwt.service.events import TokenEvent, TokenHook
from .jwt.service.pair import TokenPair
from .jwt.service.token_service import TokenService
from .jwt.signing import KeyRing, SigningKey
from .jwt.user import VerifiedUser
from .locks.decorator import locked
from .locks.guard import RouteLock
from .locks.held import HeldLock
from .locks.lock import Lock
from .locks.middleware import RouteLockMiddleware
from .locks.semaphore import Semaphore
from .middleware.engine import GuardMiddleware
from .middleware.routes import RouteGuards, guarded
from .observability.events import Decision, Hook
from .pubsub.hub import Hub
from .pubsub.messages import Gap, Malformed, Message
from .ratelimit.admin import RateLimitAdmin
from .ratelimit.concurrency import ConcurrencyLimit
from .ratelimit.concurrency_middleware import ConcurrencyLimitMiddleware
from .ratelimit.decorator import rate_limit
from .ratelimit.guard import RateLimit
from .ratelimit.ledger import Ban
from .ratelimit.limiter import LimitResult, RateLimiter
from .ratelimit.middleware import MessageLimitMiddleware, RateLimitMiddleware
from .ratelimit.policy import Limit, LimitStanding
from .ratelimit.responder import Charge
from .ratelimit.sockets import MessageLimit
from .ratelimit.status import LimitedIdentity, LimitStatus, LimitTotals
from .redis.health import Health
from .redis.manager import RedisManager
from .sessions.binding import DeviceBinding
from .sessions.crypto import SessionCipher
from .sessions.csrf import CSRF
from .sessions.csrf_middleware import CSRFMiddleware
from .sessions.devices import Devices, TrustedDevice, TrustGrant
from .sessions.events import SecurityEvent, SecurityEventKind, SecurityEvents, SecurityHook
from .sessions.guard import Sessions
from .sessions.middleware import SessionMiddleware
from .sessions.session import Session
from .sessions.store import SessionInfo, SessionStats, SessionStore
from .sessions.tokens import CSRFToken
from .sessions.user import SessionUser
from .settings import Settings

__version__ = "0.1.0"

__all__ = [
    "CSRF",
    "PASS",
    "AccessToken",
    "Admission",
    "Answer",
    "Ask",
    "Ban",
    "Batch",
    "Body",
    "BodyTooLarge",
    "CSRFMiddleware",
    "CSRFToken",
    "Cache",
    "CacheEvent",
    "CacheHook",
    "CachedFunction",
    "Charge",
    "Close",
    "ConcurrencyLimit",
    "ConcurrencyLimitMiddleware",
    "ConfigurationError",
    "Control",
    "CookieTransport",
    "Decision",
    "DeviceBinding",
    "Devices",
    "Exchange",
    "Gap",
    "Guard",
    "GuardError",
    "GuardMiddleware",
    "GuardProtocolError",
    "Head",
    "Health",
    "HeldLock",
    "Hook",
    "Hub",
    "Idempotency",
    "IdempotencyConflict",
    "IdempotencyError",
    "IdempotencyMiddleware",
    "IdempotencyMismatch",
    "JWKSKeys",
    "JWKSStatus",
    "JWTAuth",
    "JWTAuthMiddleware",
    "KeyPart",
    "KeyRing",
    "KeysUnavailable",
    "Limit",
    "LimitResult",
    "LimitStanding",
    "LimitStatus",
    "LimitTotals",
    "LimitedIdentity",
    "Lock",
    "LockBusy",
    "LockError",
    "LockLost",
    "LockNotOwnedError",
    "Logout",
    "Malformed",
    "Message",
    "MessageLimit",
    "MessageLimitMiddleware",
    "MirrorStatus",
    "NoExchange",
    "OnRefused",
    "OneRoundGuard",
    "Operation",
    "OperationFailed",
    "OperationKind",
    "Outcome",
    "Pass",
    "PathPatterns",
    "RateLimit",
    "RateLimitAdmin",
    "RateLimitMiddleware",
    "RateLimiter",
    "RedisManager",
    "RedisOverloaded",
    "RedisTimeout",
    "RedisUnavailable",
    "RefreshRefused",
    "Replies",
    "Reply",
    "RequestEdits",
    "Responder",
    "ResponseAborted",
    "ResponseCache",
    "ResponseCacheMiddleware",
    "Revocation",
    "RevocationList",
    "RevocationStats",
    "RouteGuards",
    "RouteLock",
    "RouteLockMiddleware",
    "RouteRefused",
    "SecurityEvent",
    "SecurityEventKind",
    "SecurityEvents",
    "SecurityHook",
    "Semaphore",
    "Session",
    "SessionCipher",
    "SessionDataError",
    "SessionInfo",
    "SessionMiddleware",
    "SessionNotLoaded",
    "SessionStats",
    "SessionStore",
    "SessionUnreadable",
    "SessionUser",
    "Sessions",
    "Settings",
    "SigningKey",
    "TokenError",
    "TokenEvent",
    "TokenHook",
    "TokenInvalid",
    "TokenPair",
    "TokenRevoked",
    "TokenRoutes",
    "TokenService",
    "TooFewReplicas",
    "TooManySessions",
    "TrustGrant",
    "TrustedDevice",
    "TrustedProxies",
    "ValueEvent",
    "ValueHook",
    "Verdict",
    "VerifiedUser",
    "Wait",
    "WaitTimeout",
    "Warmed",
    "cached",
    "guarded",
    "idempotent",
    "invalidates",
    "locked",
    "problem",
    "rate_limit",
    "unavailable",
]
