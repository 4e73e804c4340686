/** Loaded before a program: the clock on its wall goes wrong by `CLOCK_SKEW_MS`. */
const skewMs = Number(process.env.CLOCK_SKEW_MS);
const RightDate = Date;

globalThis.Date = new Proxy(RightDate, {
  construct: (target, args, self) =>
    Reflect.construct(target, args.length === 0 ? [RightDate.now() + skewMs] : args, self),
  get: (target, name, self) =>
    name === 'now' ? () => RightDate.now() + skewMs : Reflect.get(target, name, self),
});
