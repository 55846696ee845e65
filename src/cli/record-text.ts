import type { NewestRecords, TraceView } from '../api/shapes.ts';
import { printable } from './text-table.ts';

/** `spoor streams records`: two lines a record, where it lies and what it is. */
export function renderRecords({ records }: NewestRecords): string {
  if (records.length === 0) return 'no records\n';
  return records
    .map(({ at, op, table, key, value, position, place }) => {
      const where = Object.entries(place).map(([name, text]) => `${name} ${text}`);
      const head = [at ?? '-', op ?? '-', table ?? '-', where.join(', '), position ?? '-'].join('  ');
      return `${printable(head)}\n  ${printable(key ?? 'null')}  ${printable(value ?? 'null')}\n`;
    })
    .join('');
}

/** `spoor streams trace`: a line a step, and what is known of it. */
export function renderTrace({ steps }: TraceView): string {
  return steps
    .map(({ step, is, text, facts }) => {
      const more = Object.entries(facts).map(([name, fact]) => `  ${name} ${fact}\n`);
      return printable(`${step.padEnd(6)}  ${is.padEnd(7)}  ${text}`) + `\n${more.join('')}`;
    })
    .join('');
}
