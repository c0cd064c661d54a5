import { useLocale } from '../preferences'

/** A time as a person of the language writes it. */
export function formatTime(at: string | Date, locale: string): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(at))
}

/** A moment, in the time of the browser. */
export function When({ at }: { at: string }) {
  return (
    <time dateTime={at} className="ml-nowrap">
      {formatTime(at, useLocale())}
    </time>
  )
}
