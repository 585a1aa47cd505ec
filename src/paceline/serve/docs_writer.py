"""The box of the docs page that writes while you watch; there when a model generates text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """
#writer textarea{min-height:5rem}#writer .knobs{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center;margin:.6rem 0}
#writer input[type=number]{width:5.5rem}#writer output{display:block;white-space:pre-wrap;overflow-wrap:anywhere;min-height:1.5rem;border-left:3px solid var(--accent);padding-left:.8rem}
#writer output .given{opacity:.6}#writer small{opacity:.75}
"""

_SCRIPT = """
{
  const form=document.querySelector('#writer form'),out=form.querySelector('output'),told=form.querySelector('small');
  let leave=null;
  form.stop.addEventListener('click',()=>leave&&leave.abort());
  form.addEventListener('submit',async event=>{
    event.preventDefault();event.stopImmediatePropagation();
    if(leave)leave.abort();
    const mine=leave=new AbortController(),started=performance.now();
    const headers={'content-type':'application/json'},token=document.getElementById('token').value;
    if(token)headers.authorization='Bearer '+token;
    const body={prompt:form.prompt.value,max_tokens:+form.max_tokens.value,temperature:+form.temperature.value,
      stream:true,stream_options:{include_usage:true}};
    if(form.model)body.model=form.model.value;
    out.replaceChildren();told.textContent='';
    const given=document.createElement('span');given.className='given';given.textContent=body.prompt;
    const text=document.createTextNode('');
    let first=0,usage=null;
    try{
      const reply=await fetch('v1/inference',{method:'POST',headers,body:JSON.stringify(body),signal:mine.signal});
      if(!reply.ok)throw new Error((await reply.json()).detail);
      out.append(given,text);
      let rest='';
      const reader=reply.body.pipeThrough(new TextDecoderStream()).getReader();
      for(;;){
        const {done,value}=await reader.read();
        if(done)break;
        const blocks=(rest+value).split('\\n\\n');rest=blocks.pop();
        for(const block of blocks){
          const line=block.split('\\n').find(line=>line.startsWith('data: ')).slice(6);
          if(line==='[DONE]')continue;
          const piece=JSON.parse(line);
          if(piece.error)throw new Error(piece.error.message);
          if(!first)first=performance.now()-started;
          text.data+=piece.text;usage=piece.usage||usage;
        }
      }
      const total=performance.now()-started,count=usage?usage.completion_tokens:0;
      told.textContent=`first token after ${first.toFixed(0)} ms; ${count} tokens in ${total.toFixed(0)} ms`
        +(count>1?`, ${((count-1)/(total-first)*1e3).toFixed(0)} tokens/s`:'')
        +(usage&&usage.prompt_tokens_details.cached_tokens?`; ${usage.prompt_tokens_details.cached_tokens} prompt tokens were cached`:'');
    }catch(error){told.textContent=mine.signal.aborted?'stopped':String(error.message||error)}
  });
}
"""


def writer(description: Mapping[str, Any]) -> str:
    """The box, or nothing when no model of the description generates."""
    names = _names(description)
    if not names:
        return ""
    options = "".join(f"<option>{escape(name)}</option>" for name in names)
    return f"""<section id="writer"><h2>Try it</h2>
<form><textarea name="prompt" aria-label="Prompt">The sea is</textarea>
<div class="knobs"><label>Model <select name="model">{options}</select></label>
<label>Tokens <input name="max_tokens" type="number" min="1" max="4096" value="64"></label>
<label>Temperature <input name="temperature" type="number" min="0" max="2" step="0.1" value="0.7"></label>
<button>Write</button><button type="button" name="stop">Stop</button></div>
<output aria-live="polite"></output><small></small></form></section><script>{_SCRIPT}</script>"""


def _names(description: Mapping[str, Any]) -> list[str]:
    """The models that generate, as the description of their route has them."""
    request = description["components"]["schemas"].get("InferenceRequest")
    if request is None:
        return []
    model = request["properties"]["model"]
    found = [choice["enum"] for choice in [model, *model.get("anyOf", ())] if "enum" in choice]
    return list(found[0]) if found else []
