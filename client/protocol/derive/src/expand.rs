//! The code a declaration turns into: lists of calls into `highwater_protocol::wire`, one line a field.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{DeriveInput, Ident, Result};

use crate::attributes::{FieldDeclaration, MessageAttributes, Shape, Versions};

/// `#[derive(Message)]`.
pub(crate) fn message(input: &DeriveInput) -> Result<TokenStream> {
    let MessageAttributes { first, last, flexible } = MessageAttributes::read(input)?;
    let structure = fields(input)?;
    let name = &input.ident;
    let text = name.to_string();
    let flexible = option(flexible.map(|version| quote!(#version)));
    Ok(quote! {
        #structure
        impl ::highwater_protocol::Message for #name {
            const NAME: &'static str = #text;
            const VERSIONS: ::highwater_protocol::VersionRange = ::highwater_protocol::VersionRange::new(#first, #last);
            const FIRST_FLEXIBLE: ::core::option::Option<i16> = #flexible;
        }
    })
}

/// `#[derive(Fields)]`.
pub(crate) fn fields(input: &DeriveInput) -> Result<TokenStream> {
    let declared = FieldDeclaration::read_all(input)?;
    let name = &input.ident;
    let text = name.to_string();

    let defaults = declared.iter().map(|field| {
        let (ident, value) = (field.ident, default_of(field));
        quote!(#ident: #value)
    });
    let schemas = declared.iter().map(schema_of);
    let sizes = declared.iter().filter(|field| field.tag.is_none()).map(min_bytes_of);
    let reads = declared.iter().map(read_of);
    let tagged_reads = read_tags(&declared);
    let values = declared.iter().map(|field| {
        let (ident, local) = (field.ident, local_of(field));
        quote!(#ident: #local)
    });
    let writes = declared.iter().filter(|field| field.tag.is_none()).map(|field| write_of(&text, field));
    let tagged_writes = write_tags(&text, &declared);

    Ok(quote! {
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#defaults,)* }
            }
        }

        impl ::highwater_protocol::wire::Wire for #name {
            const TYPE: ::highwater_protocol::schema::FieldType =
                ::highwater_protocol::schema::FieldType::Struct(&::highwater_protocol::schema::StructSchema {
                    name: #text,
                    fields: &[#(#schemas,)*],
                });

            fn min_bytes(version: ::highwater_protocol::wire::Version) -> usize {
                let mut min_bytes = usize::from(version.flexible);
                #(#sizes)*
                min_bytes
            }

            fn read(
                from: &mut ::highwater_protocol::Decoder,
                version: ::highwater_protocol::wire::Version,
            ) -> ::core::result::Result<Self, ::highwater_protocol::DecodeError> {
                #(#reads)*
                #tagged_reads
                ::core::result::Result::Ok(Self { #(#values,)* })
            }

            fn write(
                &self,
                to: &mut ::highwater_protocol::Encoder,
                version: ::highwater_protocol::wire::Version,
            ) -> ::core::result::Result<(), ::highwater_protocol::EncodeError> {
                #(#writes)*
                #tagged_writes
                ::core::result::Result::Ok(())
            }
        }

        impl ::highwater_protocol::wire::Nullable for #name {
            fn read_nullable(
                from: &mut ::highwater_protocol::Decoder,
                version: ::highwater_protocol::wire::Version,
            ) -> ::core::result::Result<::core::option::Option<Self>, ::highwater_protocol::DecodeError> {
                ::highwater_protocol::wire::read_nullable_struct(from, version)
            }

            fn write_nullable(
                value: ::core::option::Option<&Self>,
                to: &mut ::highwater_protocol::Encoder,
                version: ::highwater_protocol::wire::Version,
            ) -> ::core::result::Result<(), ::highwater_protocol::EncodeError> {
                ::highwater_protocol::wire::write_nullable_struct(value, to, version)
            }
        }
    })
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn default_of(field: &FieldDeclaration<'_>) -> TokenStream {
    match &field.default {
        Some(default) => quote!(#default),
        None => quote!(::core::default::Default::default()),
    }
}

/// The value of a field that is not there.
fn absent_of(field: &FieldDeclaration<'_>) -> TokenStream {
    if field.absent_is_empty {
        return quote!(::core::option::Option::Some(::core::default::Default::default()));
    }
    default_of(field)
}

/// The test "does this version carry it", or `None` when every version does.
fn carried(versions: Versions) -> Option<TokenStream> {
    match versions {
        Versions { first: 0, last: None } => None,
        Versions { first, last: None } => Some(quote!(version.number >= #first)),
        Versions { first: 0, last: Some(last) } => Some(quote!(version.number <= #last)),
        Versions { first, last: Some(last) } => Some(quote!((#first..=#last).contains(&version.number))),
    }
}

/// The test "this field is present as a tagged field".
fn carried_as_tag(field: &FieldDeclaration<'_>) -> TokenStream {
    match carried(field.versions) {
        Some(test) => quote!(version.flexible && #test),
        None => quote!(version.flexible),
    }
}

fn differs_from_absent(field: &FieldDeclaration<'_>) -> TokenStream {
    let (ident, ty, absent) = (field.ident, field.ty, absent_of(field));
    quote!(::highwater_protocol::wire::differs::<#ty>(&self.#ident, &#absent))
}

fn schema_of(field: &FieldDeclaration<'_>) -> TokenStream {
    let (name, ty) = (field.ident.unraw().to_string(), field.ty);
    let field_type = if field.records {
        quote!(::highwater_protocol::schema::FieldType::Records)
    } else {
        quote!(<#ty as ::highwater_protocol::wire::Wire>::TYPE)
    };
    let versions = range(field.versions);
    let nullable = option(field.nullable.map(range));
    let tag = option(field.tag.map(|tag| quote!(#tag)));
    let default = match (&field.default, field.shape) {
        (Some(default), Shape::Bool) => quote!(Bool(#default)),
        (Some(default), _) => quote!(Integer((#default) as i64)),
        (None, _) if field.absent_is_empty => quote!(Empty),
        (None, _) => quote!(Zero),
    };
    let ignorable = field.ignorable;
    quote! {
        ::highwater_protocol::schema::FieldSchema {
            name: #name,
            field_type: #field_type,
            versions: #versions,
            nullable: #nullable,
            tag: #tag,
            default: ::highwater_protocol::schema::DefaultValue::#default,
            ignorable: #ignorable,
        }
    }
}

fn range(versions: Versions) -> TokenStream {
    let (first, last) = (versions.first, versions.last.unwrap_or(i16::MAX));
    quote!(::highwater_protocol::VersionRange::new(#first, #last))
}

fn min_bytes_of(field: &FieldDeclaration<'_>) -> TokenStream {
    let ty = field.ty;
    let add = quote!(min_bytes += <#ty as ::highwater_protocol::wire::Wire>::min_bytes(version););
    match carried(field.versions) {
        Some(test) => quote!(if #test { #add }),
        None => add,
    }
}

fn read_of(field: &FieldDeclaration<'_>) -> TokenStream {
    let (local, ty, default) = (local_of(field), field.ty, absent_of(field));
    if field.tag.is_some() {
        return quote!(let mut #local: #ty = #default;);
    }
    let value = read_value(field);
    match carried(field.versions) {
        Some(test) => quote!(let #local: #ty = if #test { #value } else { #default };),
        None => quote!(let #local: #ty = #value;),
    }
}

/// Where a field is kept until all are read: a field may itself be called `version` or `from`.
fn local_of(field: &FieldDeclaration<'_>) -> Ident {
    format_ident!("{}_read", field.ident.unraw())
}

/// Reads the value itself, refusing a null at a version that does not allow one.
fn read_value(field: &FieldDeclaration<'_>) -> TokenStream {
    let ty = field.ty;
    match field.nullable {
        Some(_) if field.tag.is_some() && field.nullable_structure => {
            quote!(::highwater_protocol::wire::read_tagged_struct(from, version)?)
        }
        Some(nullable) if nullable != field.versions => {
            let name = field.ident.unraw().to_string();
            let allowed = carried(nullable).unwrap_or_else(|| quote!(true));
            quote!(::highwater_protocol::wire::read_sometimes_null(from, version, #allowed, #name)?)
        }
        _ => quote!(<#ty as ::highwater_protocol::wire::Wire>::read(from, version)?),
    }
}

fn read_tags(declared: &[FieldDeclaration<'_>]) -> TokenStream {
    let arms = declared.iter().filter_map(|field| {
        let (tag, local, value) = (field.tag?, local_of(field), read_value(field));
        let guard = carried(field.versions).map(|test| quote!(if #test));
        Some(quote!(#tag #guard => #local = #value,))
    });
    let arms: Vec<_> = arms.collect();
    if arms.is_empty() {
        return quote!(if version.flexible {
            from.skip_tagged_fields()?;
        });
    }
    quote! {
        if version.flexible {
            from.tagged_fields(|tag, from| {
                match tag {
                    #(#arms)*
                    _ => return ::core::result::Result::Ok(false),
                }
                ::core::result::Result::Ok(true)
            })?;
        }
    }
}

fn write_of(structure: &str, field: &FieldDeclaration<'_>) -> TokenStream {
    let write = write_value(structure, field);
    let Some(test) = carried(field.versions) else { return write };
    match refuse_absent(structure, field) {
        Some((differs, refuse)) => quote!(if #test { #write } else if #differs { #refuse }),
        None => quote!(if #test { #write }),
    }
}

/// The condition under which an absent field is an error, and the error.
fn refuse_absent(structure: &str, field: &FieldDeclaration<'_>) -> Option<(TokenStream, TokenStream)> {
    let name = field.ident.unraw().to_string();
    let refuse = quote! {
        return ::core::result::Result::Err(::highwater_protocol::EncodeError::FieldNotCarried {
            structure: #structure,
            field: #name,
            version: version.number,
        });
    };
    (!field.ignorable).then(|| (differs_from_absent(field), refuse))
}

fn write_value(structure: &str, field: &FieldDeclaration<'_>) -> TokenStream {
    let (ident, ty) = (field.ident, field.ty);
    let write = quote!(<#ty as ::highwater_protocol::wire::Wire>::write(&self.#ident, to, version)?;);
    match refuse_null(structure, field) {
        Some(refuse) => quote!(#refuse #write),
        None => write,
    }
}

/// Where null is allowed at only some of the versions that carry the field: the check before it is written.
fn refuse_null(structure: &str, field: &FieldDeclaration<'_>) -> Option<TokenStream> {
    let nullable = field.nullable.filter(|nullable| *nullable != field.versions)?;
    let (ident, name) = (field.ident, field.ident.unraw().to_string());
    let allowed = carried(nullable)?;
    Some(quote! {
        if self.#ident.is_none() && !(#allowed) {
            return ::core::result::Result::Err(::highwater_protocol::EncodeError::NullNotCarried {
                structure: #structure,
                field: #name,
                version: version.number,
            });
        }
    })
}

fn write_tags(structure: &str, declared: &[FieldDeclaration<'_>]) -> TokenStream {
    let mut tagged: Vec<_> = declared.iter().filter(|field| field.tag.is_some()).collect();
    if tagged.is_empty() {
        return quote!(if version.flexible {
            to.put_unsigned_varint(0);
        });
    }
    tagged.sort_by_key(|field| field.tag);
    let checks = tagged.iter().map(|field| {
        let (present, differs) = (carried_as_tag(field), differs_from_absent(field));
        match refuse_absent(structure, field) {
            Some((_, refuse)) => quote!(if #differs { if #present { count += 1; } else { #refuse } }),
            None => quote!(if #present && #differs { count += 1; }),
        }
    });
    let writes = tagged.iter().map(|field| {
        let (ident, tag) = (field.ident, field.tag);
        let (test, differs) = (carried(field.versions), differs_from_absent(field));
        let test = test.map(|test| quote!(#test &&));
        let refuse = refuse_null(structure, field);
        let write = if field.nullable_structure {
            quote!(::highwater_protocol::wire::write_tagged_struct(self.#ident.as_ref(), to, version))
        } else {
            quote!(::highwater_protocol::wire::Wire::write(&self.#ident, to, version))
        };
        quote!(if #test #differs { #refuse to.put_tagged_field(#tag, |to| #write)?; })
    });
    quote! {
        let mut count = 0u32;
        #(#checks)*
        if version.flexible {
            to.put_unsigned_varint(count);
            if count > 0 {
                #(#writes)*
            }
        }
    }
}
