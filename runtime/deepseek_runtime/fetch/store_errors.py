"""What the answers of object stores mean for the user.

The library tells kinds of errors apart by their status, and quotes the server's answer, which has the code that says
why (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). What it quotes is not shown: it may repeat
what was sent.
"""

import re

from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

from deepseek_runtime.fetch.source import RemoteFile
from deepseek_runtime.fetch.store_access import Access
from deepseek_runtime.fetch.troubles import TransientError
from deepseek_runtime.job.errors import ConfigurationError, DataError, JobError
from deepseek_runtime.wire.job import ObjectStoreSource

_STATUS = re.compile(r"\b(?:status code|status|code)\D{0,10}([345]\d\d)\b")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_REGION = re.compile(r"(?:expecting '|<Region>)([a-z0-9-]{1,40})['<]")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_REFUSED = {
    "InvalidAccessKeyId": "the access key is not known there",
    "XAdminUserNotFound": "the access key is not known there",  # versitygw's word for it
    "SignatureDoesNotMatch": "the secret access key does not belong to the access key",
    "InvalidToken": "the session token is not one of this key",
    "AccountProblem": "the account has a problem that its owner must solve",
    "AuthenticationFailed": "the account key or the SAS is wrong or has expired",
    "RequestTimeTooSkewed": "the clock of the node is wrong",
}
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


def explained(
    error: Exception, wanted: ObjectStoreSource, access: Access, file: RemoteFile | None = None
) -> JobError | TransientError:
    """The error to raise. `file` is what was asked for, where that was there when the plan was made."""
    text, at = str(error), _place(wanted)
    status, code = _found(_STATUS, text), _found(_CODE, text) or ""
    if code in _REFUSED or code in _EXPIRED:  # whatever the status: servers differ
        return _denied(wanted, access, code, at)
    if isinstance(error, PreconditionError) or status == "412":
        return changed(wanted, file)
    if isinstance(error, FileNotFoundError) or status == "404":
        return changed(wanted, file) if file is not None else _missing(wanted, code, at)
    if (region := _found(_REGION, text)) is not None or status in ("301", "307") or "LOCATION" in text:
        right = f"it is in {region}" if region is not None else "it is in another one"
        return ConfigurationError(
            "InvalidSource",
            f"{wanted.url} is not in the region {wanted.region or 'us-east-1'}: {right}. Correct "
            "source.objectStore.region.",
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in ("401", "403"):
        return _denied(wanted, access, code, at)
    if status is not None and int(status) not in _LATER:
        said = f" ({code})" if code else ""
        return ConfigurationError("InvalidSource", f"{at} answers {status}{said} for {wanted.url}. Correct the source.")
    if status == "429" or code == "SlowDown":
        return TransientError("RateLimited", f"{at} limits requests ({status})")
    said = f"answers {status}" if status is not None else "does not answer, or its answer was cut"
    return TransientError("SourceUnreachable", f"{at} {said}")


def changed(wanted: ObjectStoreSource, file: RemoteFile | None) -> DataError:
    """An object is not what was listed."""
    return DataError(
        "RevisionMoved",
        f"{file.path if file is not None else 'An object'} of {wanted.url} was changed or removed while it was "
        "fetched. Delete the PersistentVolumeClaim and the Job to fetch what is there now. It cannot happen where each "
        "version has a prefix of its own.",
    )


def _missing(wanted: ObjectStoreSource, code: str, at: str) -> JobError:
    bucket = wanted.url.split("/")[2]
    what = f"no bucket {bucket}" if code in ("NoSuchBucket", "") else f"nothing there ({code})"
    return ConfigurationError(
        "SourceNotFound", f"{at} has {what} (404). Correct url, endpoint or region of source.objectStore."
    )


def _denied(wanted: ObjectStoreSource, access: Access, code: str, at: str) -> JobError:
    if code in _EXPIRED:
        why, remedy = "the credentials have expired", "Put new ones into the Secret, and delete the Job to try again."
    elif code in _REFUSED:
        why, remedy = _REFUSED[code], "Correct the Secret, and delete the Job to try again."
    else:
        why = "list and get are not allowed"
        remedy = "Allow both below the prefix, or give credentialsSecretRef of somebody who may."
    said = f" ({code})" if code else ""
    return ConfigurationError("AccessDenied", f"{at} refuses {wanted.url} to {access.how}{said}: {why}. {remedy}")


def _place(wanted: ObjectStoreSource) -> str:
    return wanted.endpoint or {"s3": "Amazon S3", "gs": "Google Cloud Storage"}.get(wanted.url[:2], "Azure")


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None
