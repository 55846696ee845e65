import * as z from 'zod';

/**
 * A name that the contract knows and this version does not serve yet. Its fault is marked, so that a body whose
 * only faults are of this kind is answered 501 and not 400; the type that comes out is the served one.
 */
export function served<const Name extends string, const Served extends Name>(
  names: readonly [Name, ...Name[]],
  now: Served,
) {
  return z.enum(names).pipe(
    z
      .custom<Served>((value) => value === now, {
        error: (issue) =>
          `${JSON.stringify(issue.input)} is not supported yet by this version; use ${JSON.stringify(now)}`,
        params: { unsupported: true },
      })
      .meta({ type: 'string', const: now }), // JSON Schema cannot look into a custom check
  );
}

/** Options of a variant that this version does not serve are not looked at: saying 501 is enough. */
export function unservedVariant<const Type extends string>(type: Type, instead: string) {
  return z.looseObject({ type: z.literal(type) }).pipe(
    z
      .custom<never>(() => false, {
        path: ['type'],
        message: `${JSON.stringify(type)} is not supported yet by this version; use ${JSON.stringify(instead)}`,
        params: { unsupported: true },
      })
      .meta({ not: {} }),
  );
}

/** Whether an issue is nothing but that. */
export function isUnserved(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'custom' && issue.params?.['unsupported'] === true;
}
