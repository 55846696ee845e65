# Behind the program of docs/consumers.md: its rows, a JSON object each, values as Spoor's JSON has them.
import base64
import datetime
import decimal
import json
import math


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return (value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)
    if isinstance(value, datetime.date):
        return (value - datetime.date(1970, 1, 1)).days
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


for row in rows.values():
    print(json.dumps({name: plain(value) for name, value in row.items()}, separators=(",", ":")))
