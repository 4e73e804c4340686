import { z } from 'zod';

/** An OpenAPI v3 schema as the API server takes it. */
export interface StructuralSchema {
  readonly [keyword: string]: unknown;
}

/** What the API server forbids, or says by itself. Source: Kubernetes, “Specifying a structural schema”. */
const LEFT_OUT: ReadonlySet<string> = new Set(['$schema', 'definitions', 'propertyNames', 'id']);
const SAFE = Number.MAX_SAFE_INTEGER;

/** A schema of ours as the API server’s: what is unknown is pruned there, so that nothing has to forbid it. */
export function structural(schema: z.ZodType): StructuralSchema {
  return convert(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', reused: 'inline' }));
}

function convert(node: object): StructuralSchema {
  const from = Object.entries(node).filter(([keyword]) => !LEFT_OUT.has(keyword));
  const converted = Object.fromEntries(from.flatMap(([keyword, value]) => convertKeyword(keyword, value)));
  if (converted['x-kubernetes-int-or-string'] === true) {
    const { type: _, anyOf: __, ...rest } = converted;
    return rest;
  }
  if (converted.type === 'integer') return { ...converted, format: 'int64' };
  if (converted.format === 'date-time') return { type: 'string', format: 'date-time' };
  return converted;
}

function convertKeyword(keyword: string, value: unknown): [string, unknown][] {
  switch (keyword) {
    case 'properties':
      return [
        [
          keyword,
          Object.fromEntries(Object.entries(value as object).map(([name, each]) => [name, convert(each)])),
        ],
      ];
    case 'items':
      return [[keyword, convert(value as object)]];
    case 'additionalProperties':
      return typeof value === 'object' && value !== null ? [[keyword, convert(value)]] : [];
    case 'minimum':
      return value === -SAFE ? [] : [[keyword, value]];
    case 'maximum':
      return value === SAFE ? [] : [[keyword, value]];
    default:
      return [[keyword, value]];
  }
}
