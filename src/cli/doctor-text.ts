import type { Finding } from '../doctor/finding.ts';
import { printable } from './text-table.ts';
import { wrap, type Paint } from './text-style.ts';

const LABELS = { ok: 'ok', fault: 'FAULT', advice: 'advice', unknown: '-' } as const;
const STYLES = { ok: 'green', fault: 'red', advice: 'yellow', unknown: 'dim' } as const;
const LABEL_WIDTH = 7;
const CHECK_WIDTH = 15;

/** What was found, a paragraph each, with what to do below each fault; and how many faults there are. */
export function renderFindings(findings: readonly Finding[], columns: number, paint: Paint): string {
  const indent = ' '.repeat(LABEL_WIDTH + CHECK_WIDTH);
  const width = columns - indent.length;
  const paragraphs = findings.map((finding) => {
    const { check, state, what } = finding;
    const label = paint(STYLES[state], LABELS[state]) + ' '.repeat(LABEL_WIDTH - LABELS[state].length);
    const [first = '', ...rest] = wrap(printable(what), width);
    const remedy = 'remedy' in finding ? wrap(printable(finding.remedy), width - 3) : [];
    return [
      `${label}${check.padEnd(CHECK_WIDTH)}${first}`,
      ...rest.map((line) => indent + line),
      ...remedy.map((line, i) => `${indent}${i === 0 ? '-> ' : '   '}${paint('bold', line)}`),
    ].join('\n');
  });
  return `${paragraphs.join('\n')}\n\n${verdict(countFaults(findings))}\n`;
}

export function countFaults(findings: readonly Finding[]): number {
  return findings.filter(({ state }) => state === 'fault').length;
}

function verdict(faults: number): string {
  if (faults === 0) return 'nothing is wrong';
  return faults === 1 ? '1 fault' : `${faults} faults`;
}
