/** Does something with each item, some at a time; when one fails, what has begun is waited for and no more is begun. */
export async function eachOf<Item>(
  items: Iterable<Item>,
  atATime: number,
  task: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = Iterator.from(items);
  let failed = false;
  const work = async () => {
    for (const item of rest) {
      if (failed) return;
      try {
        await task(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: atATime }, work));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
