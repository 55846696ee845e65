import { pino, type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { LogLevel } from '../config/config.ts';
import { LogOutput } from './log-output.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Values that must not appear in any line, whatever message brings them along. */
  readonly secrets: readonly string[];
  /** Where lines go; standard output when left out: pretty on a terminal, else JSON. */
  readonly destination?: DestinationStream;
}

/** Shorter ones would blot out harmless words. */
const MIN_SECRET_LENGTH = 4;

/** The program's log. A secret is taken out by its value, as errors of libraries quote what they were given. */
export function createLogger({ level, secrets, destination }: LoggerOptions): Logger {
  const forms = secrets
    .filter((secret) => secret.length >= MIN_SECRET_LENGTH)
    .flatMap((secret) => [JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]);
  const mask = (line: string) => forms.reduce((masked, form) => masked.replaceAll(form, '***'), line);
  return pino(
    {
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      ...(forms.length > 0 && { hooks: { streamWrite: mask } }),
    },
    destination ?? standardOutput(),
  );
}

/** For people on a terminal, else for machines. */
function standardOutput(): DestinationStream {
  const { write } = new LogOutput(process.stdout);
  if (!process.stdout.isTTY) return { write };
  const pretty = prettyFactory({ colorize: true, ignore: 'pid,hostname' });
  return {
    write: (line) => {
      write(pretty(line));
    },
  };
}
