import { z } from 'zod';

/** Where time went: folded stacks, the outermost frame first and `;` between frames, with microseconds. */
export type Stacks = ReadonlyMap<string, number>;

/** Part of the time of the kernel's clock that does not stop, in microseconds. */
export interface TimeWindow {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Now, on the clock that profiles have. */
export const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

const profileSchema = z.object({
  startTime: z.number(),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.number()),
  nodes: z.array(
    z.object({
      id: z.int(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.int() }),
      children: z.array(z.int()).optional(),
    }),
  ),
});
export type CpuProfile = z.output<typeof profileSchema>;

/** As V8 writes it. @throws for what is none */
export const parseProfile = (text: string): CpuProfile => profileSchema.parse(JSON.parse(text));

/** What V8 says of time in which nothing ran, and of what all stacks begin with. */
const NO_WORK = new Set(['(idle)', '(root)']);

/** A V8 CPU profile as stacks, as far as its samples lie within the windows. Pure. @param process its outermost frame */
export function foldProfile(
  { nodes, samples, timeDeltas, startTime }: CpuProfile,
  process: string,
  windows: readonly TimeWindow[],
): Stacks {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const stackOf = (id: number): string[] => {
    const frames: string[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = byId.get(at);
      if (node !== undefined && !NO_WORK.has(node.callFrame.functionName))
        frames.unshift(frameOf(node.callFrame));
    }
    return frames;
  };
  const stacks = new Map<string, number>();
  let atUs = startTime;
  for (const [index, id] of samples.entries()) {
    atUs += timeDeltas[index] ?? 0;
    // What was seen lasts until it is looked again.
    const lastsUs = timeDeltas[index + 1] ?? 0;
    const frames = stackOf(id);
    if (
      frames.length === 0 ||
      lastsUs <= 0 ||
      !windows.some(({ fromUs, toUs }) => atUs >= fromUs && atUs < toUs)
    )
      continue;
    const stack = [process, ...frames].join(';');
    stacks.set(stack, (stacks.get(stack) ?? 0) + lastsUs);
  }
  return stacks;
}

const SAMPLE = /^\S.*?\s+([0-9]+\.[0-9]+):\s+[0-9]* *\S+$/;
const FRAME = /^\s+[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)? \(([^()]*)\)$/;

/** What `perf script` has written of one process, with times of the same clock. Pure. @param periodUs between two samples */
export function foldPerf(
  text: string,
  process: string,
  periodUs: number,
  windows: readonly TimeWindow[],
): Stacks {
  const stacks = new Map<string, number>();
  for (const block of text.split('\n\n')) {
    const [head = '', ...lines] = block.split('\n').filter((line) => line !== '');
    const seconds = SAMPLE.exec(head.trimEnd())?.[1];
    if (seconds === undefined) continue;
    const atUs = Number(seconds) * 1e6;
    if (!windows.some(({ fromUs, toUs }) => atUs >= fromUs && atUs < toUs)) continue;
    const frames = lines
      .map((line) => FRAME.exec(line))
      .filter((match) => match !== null)
      .map(([, name = '', where = '']) => nativeFrame(name, where))
      .reverse();
    const stack = [process, ...frames].join(';');
    stacks.set(stack, (stacks.get(stack) ?? 0) + periodUs);
  }
  return stacks;
}

/** Pure. */
export function mergeStacks(all: Iterable<Stacks>): Stacks {
  const merged = new Map<string, number>();
  for (const stacks of all)
    for (const [stack, us] of stacks) merged.set(stack, (merged.get(stack) ?? 0) + us);
  return merged;
}

/** What each frame itself took, without what it called; the most first. Pure. */
export function selfTimes(stacks: Stacks): [frame: string, us: number][] {
  const own = new Map<string, number>();
  for (const [stack, us] of stacks) {
    const frame = stack.slice(stack.lastIndexOf(';') + 1);
    own.set(frame, (own.get(frame) ?? 0) + us);
  }
  return [...own].sort(([, one], [, other]) => other - one);
}

export const totalUs = (stacks: Stacks): number => stacks.values().reduce((sum, us) => sum + us, 0);

function frameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  const where = placeOf(url);
  return plain(
    where === '' ? name : `${name} ${where}${where.startsWith('node:') ? '' : `:${lineNumber + 1}`}`,
  );
}

/** Without where this tree lies on this machine. */
function placeOf(url: string): string {
  const path = url.replace(/^file:\/\//, '');
  const packaged = path.lastIndexOf('/node_modules/');
  if (packaged >= 0) return path.slice(packaged + '/node_modules/'.length);
  const root = new URL('../../../', import.meta.url).pathname;
  return path.startsWith(root) ? path.slice(root.length) : path;
}

function nativeFrame(name: string, where: string): string {
  if (name !== '[unknown]') return plain(name.replace(/::h[0-9a-f]{16}$/, ''));
  const program = where.slice(where.lastIndexOf('/') + 1);
  return plain(program.startsWith('[') ? program : `[${program}]`);
}

const plain = (frame: string): string => frame.replaceAll(';', ',');
