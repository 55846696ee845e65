/* Figures as people read them. What is not known is a dash. */

const UNKNOWN = '–';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

export function count(value: number | null | undefined): string {
  return value == null ? UNKNOWN : whole.format(value);
}

export function rate(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  return value >= 10_000 ? compact.format(value) : value >= 100 ? whole.format(value) : short.format(value);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  let unit = 0;
  let left = value;
  for (; left >= 1000 && unit < UNITS.length - 1; unit++) left /= 1024;
  return `${unit === 0 ? whole.format(left) : short.format(left)} ${UNITS[unit]}`;
}

/** A length of time, in two units at most. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return UNKNOWN;
  if (seconds < 0.0005) return '0 s';
  if (seconds < 1) return `${whole.format(Math.max(1, seconds * 1000))} ms`;
  if (seconds < 10) return `${short.format(Math.round(seconds * 10) / 10)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** How long ago a moment was, to the second below two minutes. */
export function ago(iso: string | null, nowMs: number): string {
  if (iso === null) return UNKNOWN;
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(iso)) / 1000));
  return seconds < 2 ? 'just now' : `${duration(seconds)} ago`;
}

/** A moment by the reader's own clock and zone: the time, with its day where that is not today. */
export function moment(iso: string | null, nowMs: number = Date.now()): string {
  if (iso === null) return UNKNOWN;
  const at = new Date(iso);
  const time = at.toLocaleTimeString('en-GB');
  const day = at.toLocaleDateString('en-CA');
  return day === new Date(nowMs).toLocaleDateString('en-CA') ? time : `${day} ${time}`;
}

export function percent(value: number | null | undefined): string {
  return value == null ? UNKNOWN : `${short.format(value)} %`;
}

export function plural(number: number, what: string): string {
  return `${whole.format(number)} ${what}${number === 1 ? '' : 's'}`;
}

/** The first of an id that tells it apart from others, mostly. */
export function shortId(id: string): string {
  return id.length > 12 ? `${id.slice(0, 8)}…` : id;
}
