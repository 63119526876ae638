// Figures as people read them.

const STEP = 1024;
const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const hours = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

/** As the server writes sizes, so that the two never differ on one page. */
export function formatSize(size) {
  let amount = size;
  let power = 0;
  while (Number(amount.toFixed(1)) >= STEP && power < UNITS.length - 1) {
    amount /= STEP;
    power += 1;
  }
  return power ? `${amount.toFixed(1)} ${UNITS[power]}` : `${size} bytes`;
}

export function formatDuration(seconds) {
  if (seconds < 60) {
    return `${Math.max(1, Math.round(seconds))} s`;
  }
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function formatTime(text) {
  return moments.format(new Date(text));
}

/** Of what is near, as the end of a lock, which lasts an hour at most. */
export function formatHour(text) {
  return hours.format(new Date(text));
}

export function formatShare(part, whole) {
  return `${whole ? Math.floor((100 * part) / whole) : 100} %`;
}

export function plural(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}

/** The last segment of a name; that of a folder keeps its `/`. */
export function baseName(name) {
  return name.slice(name.lastIndexOf("/", name.length - 2) + 1);
}

export function parentOf(name) {
  return name.slice(0, name.lastIndexOf("/", name.length - 2) + 1);
}
