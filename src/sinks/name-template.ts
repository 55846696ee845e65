/** Placeholders of the templates by which tables get places; `{database}` is what stands before the table name's first dot. */
const PLACEHOLDERS = ['{table}', '{stream}', '{database}'];
const KNOWN = PLACEHOLDERS.join(', ');

/**
 * What is against a template such as `cdc.{table}`; null for nothing.
 * @param nameFault what is against a name that it makes: asked with one letter for each placeholder, which makes no empty name
 */
export function templateFault(template: string, nameFault: (name: string) => string | null): string | null {
  const braced = template.match(/\{[^{}]*\}/g) ?? [];
  const unknown = braced.find((placeholder) => !PLACEHOLDERS.includes(placeholder));
  if (unknown !== undefined) return `has an unknown placeholder ${unknown}; known are ${KNOWN}`;
  const filled = template.replace(/\{[^{}]*\}/g, 'x');
  if (/[{}]/.test(filled)) return `has a brace that belongs to no placeholder; known are ${KNOWN}`;
  return nameFault(filled);
}

/**
 * Turns a table's name into what the template makes of it.
 * @param what it is of, for the error: `topic`
 * @throws {RangeError} on a placeholder that is none
 */
export function compileTemplate(what: string, template: string, streamName: string): (tableName: string) => string {
  for (const [placeholder] of template.matchAll(/\{[^}]*\}?/g))
    if (!PLACEHOLDERS.includes(placeholder))
      throw new RangeError(`${what} ${JSON.stringify(template)}: ${placeholder} is none of ${KNOWN}`);
  return (tableName) => {
    const values: Record<string, string> = {
      table: tableName,
      stream: streamName,
      database: tableName.split('.', 1)[0]!,
    };
    return template.replace(/\{(\w+)\}/g, (_, name: string) => values[name]!);
  };
}
