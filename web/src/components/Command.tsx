import { ClipboardCopy } from '@pf/ClipboardCopy'
import { useTexts } from '../preferences'

/** A command to copy, exactly as it has to be typed. */
export function Command({ children, label }: { children: string; label?: string }) {
  const t = useTexts()
  return (
    <ClipboardCopy isReadOnly isCode hoverTip={t.common.copy} clickTip={t.common.copied} copyAriaLabel={t.common.copy} textAriaLabel={label ?? children}>
      {children}
    </ClipboardCopy>
  )
}
