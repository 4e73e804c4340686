import { GROUP, KINDS, type Kind, VERSION } from './definitions.ts';
import { type StructuralSchema, structural } from './structural.ts';

interface Field {
  readonly path: string;
  readonly type: string;
  readonly value: string;
  readonly description: string;
}

/** The page that says what can be written in our resources, and what is to be read there. */
export function reference(): string {
  const head = [
    `# Resources of \`${GROUP}/${VERSION}\``,
    '',
    'Made from the schemas in `kubernetes/src/resources` by `scripts/generate`. How they are used: [kubernetes.md](kubernetes.md).',
  ];
  return `${[...head, ...KINDS.flatMap(sectionOf)].join('\n')}\n`;
}

function sectionOf({ kind, plural, shortNames, description, spec, status }: Kind): string[] {
  return [
    '',
    `## ${kind}`,
    '',
    `${description} Belongs to the cluster as a whole; \`kubectl get ${plural}\`, or \`${shortNames.join('`, `')}\`.`,
    ...tableOf('spec', structural(spec)),
    ...tableOf('status', structural(status)),
  ];
}

function tableOf(path: string, schema: StructuralSchema): string[] {
  const rows = [...fieldsOf(path, schema)].map(
    (field) => `| \`${field.path}\` | ${field.type} | ${field.value} | ${field.description} |`,
  );
  return ['', '| field | type | default | |', '| --- | --- | --- | --- |', ...rows];
}

function* fieldsOf(path: string, schema: StructuralSchema): Generator<Field> {
  const required = new Set(schema.required as readonly string[] | undefined);
  for (const [name, each] of Object.entries((schema.properties ?? {}) as Record<string, StructuralSchema>)) {
    const inner = (each.items ?? each) as StructuralSchema;
    const own = `${path}.${name}${each.items === undefined ? '' : '[]'}`;
    yield {
      path: own,
      type: typeOf(each),
      value: defaultOf(each, required.has(name)),
      description: textOf(each).replaceAll('|', '\\|'),
    };
    yield* fieldsOf(own, inner);
  }
}

function typeOf(schema: StructuralSchema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'integer or string';
  if (schema.items !== undefined) return `list of ${typeOf(schema.items as StructuralSchema)}`;
  if (schema.additionalProperties !== undefined) return 'map';
  if (schema.enum !== undefined)
    return (schema.enum as readonly string[]).map((each) => `\`${each}\``).join(', ');
  return schema.format === 'date-time' ? 'time' : String(schema.type);
}

function defaultOf(schema: StructuralSchema, isRequired: boolean): string {
  if (isRequired) return 'required';
  return schema.default === undefined || typeof schema.default === 'object' ? '' : `\`${schema.default}\``;
}

/** What it says of itself, and how many and how large it may be. */
function textOf(schema: StructuralSchema): string {
  const { description, minimum, maximum, maxItems, pattern } = schema;
  const ruled = [schema, schema.items].flatMap(
    (each) =>
      ((each as StructuralSchema | undefined)?.['x-kubernetes-validations'] ?? []) as { message: string }[],
  );
  const bounds = [
    minimum === undefined || minimum === 0 ? [] : `at least ${minimum}`,
    maximum === undefined ? [] : `at most ${maximum}`,
    maxItems === undefined ? [] : `at most ${maxItems} of them`,
    pattern === undefined || ruled.length > 0 ? [] : `matches \`${pattern}\``,
  ].flat();
  const bound =
    bounds.length === 0 ? [] : `${bounds.join(', ').replace(/^./, (first) => first.toUpperCase())}.`;
  const refused = ruled.length === 0 ? [] : `Refused: “${ruled.map(({ message }) => message).join('”, “')}”.`;
  return [description ?? [], bound, refused].flat().join(' ');
}
