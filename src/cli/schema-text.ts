import type { TableSchemas } from '../api/shapes.ts';

/** Each text under a line that says what it is: to be copied into the settings of a consumer. */
export function renderSchemas(tables: readonly TableSchemas[]): string {
  if (tables.length === 0) return 'no tables\n';
  return tables.map(renderTable).join('\n');
}

function renderTable({ table, topic, reason, ...texts }: TableSchemas): string {
  const head = topic === null ? `table ${table}: ${reason ?? 'no schema'}` : `table ${table}, topic ${topic}`;
  const parts = Object.entries(texts).flatMap(([name, text]) => {
    if (typeof text === 'string') return [`\n-- ${name}\n${text}`];
    return Object.entries(text).map(([part, each]) => `\n-- ${name}, ${part}\n${each}`);
  });
  return `${[head, ...parts].join('\n')}\n`;
}
